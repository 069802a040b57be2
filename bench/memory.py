#!/usr/bin/env python3
"""Resident memory of servers at start, and for each idle connection.

    bench/memory.py
    bench/memory.py --servers tfb,nginx --connections 5000

Every connection has sent one request and got its reply; then it stays open. What the kernel holds for a socket is
not counted: it is the same for all.
"""
import argparse
import contextlib
import dataclasses
import re
import resource
import subprocess
from pathlib import Path

import benchlib as lib
from benchlib import say


def resident(pid):
    """Exact resident KiB of a server and its children; pages they share are counted once by Pss."""
    total = 0
    for member in lib.family(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss: +(\d+)", rollup, re.M).group(1))
    return total


@contextlib.contextmanager
def idle_connections(build, port, path, count):
    """Holds that many connections during a with block."""
    command = [build.tool("idle"), "-p", str(port), "-u", path, "-n", str(count)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline().strip() != f"ready {count}":
            holder.stdin.close()
            raise lib.Bad(holder.stderr.read().strip())
        yield
    finally:
        holder.stdin.close()
        holder.wait()


def measure(build, server, connections, cpu):
    """Resident KiB at start and bytes for each idle connection; None when the server cannot do it."""
    shape = dataclasses.replace(lib.SHAPES["plain64"], connections=connections)    # civetweb starts a thread for each
    try:
        with lib.Running(server, shape, cpu, patience=30) as running:
            with idle_connections(build, running.port, shape.path, 64):
                pass    # what a server allocates at its first requests is no connection's
            start = resident(running.pid)
            with idle_connections(build, running.port, shape.path, connections):
                return {"start_kib": start, "each": (resident(running.pid) - start) * 1024 / connections}
    except (lib.Bad, lib.Unavailable) as why:
        say(f"{server.name}: {why}")
        return None


def measure_all(build, servers, connections, cpu):
    connections = min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200)
    servers = [server for server in servers if server.fits(lib.SHAPES["plain64"])]
    return connections, {server.name: measure(build, server, connections, cpu) for server in servers}


def table(found):
    rows = [[name, f"{m['start_kib']:,}", f"{m['each']:,.0f}"] if m else [name, "-", "-"] for name, m in found.items()]
    return lib.markdown(["server", "KiB before", "bytes a connection"], rows)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = lambda text: text.split(",")
    p.add_argument("--servers", type=names, default=lib.DEFAULT_SERVERS, help=",".join(lib.SERVERS))
    p.add_argument("--peers", action="append", default=[], metavar="NAME=COMMAND")
    p.add_argument("--connections", type=int, default=10000)
    p.add_argument("--cpu", type=int, default=0)
    p.add_argument("--no-install", action="store_true", help="never run apt-get")
    return p.parse_args()


def main():
    args = arguments()
    with lib.Build(not args.no_install) as build:
        servers = lib.make_servers(build, args.servers, args.peers)
        connections, found = measure_all(build, servers, args.connections, args.cpu)
    print(f"# Resident memory, {connections:,} idle connections\n")
    print("\n".join(f"- {name}: {text}" for name, text in lib.facts()) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
