#!/usr/bin/env python3
"""Counts system calls a request, by strace. A run of its own: a traced server is slow, so nothing is timed.

    bench/syscalls.py
    bench/syscalls.py --servers tfb --shapes close

The calls of a short run are subtracted from those of a long one, which leaves out what happens once a connection
(except where every request is a connection).
"""
import argparse
import re
import signal
import subprocess
import time
from collections import Counter

import benchlib as lib
from benchlib import say

SHAPES = ["plain64", "pipelined16", "close"]
SERVERS = lib.OURS_AND_FLOORS + ["nginx", "h2o", "lighttpd"]
REQUESTS = 640
ROW = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?([a-z]\w*)$", re.M)


def attach(build, running):
    """strace on every thread of the server and of its children, once it says that it is attached."""
    pids = [word for pid in lib.family(running.pid) for word in ("-p", str(pid))]
    log = open(build.dir / "strace.log", "w")
    strace = subprocess.Popen([build.need("strace"), "-f", "-c", "-o", str(build.dir / "strace.out"), *pids], stderr=log)
    log.close()
    end = time.monotonic() + 10
    while "attached" not in (build.dir / "strace.log").read_text():
        if strace.poll() is not None or time.monotonic() > end:
            raise lib.Bad("strace cannot attach: " + (build.dir / "strace.log").read_text().strip())
        time.sleep(0.02)
    return strace


def count(build, server, shape, requests, cpu):
    """Calls by name of one run, and the requests it answered."""
    with lib.Running(server, shape, cpu) as running:
        lib.fixed_load(build, running, 1, cpu)       # so that what a server does once, at its first request, is done
        strace = attach(build, running)
        try:
            sent = lib.fixed_load(build, running, requests, cpu)
            time.sleep(0.3)     # the server closes the connections: once in the short run, once in the long
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait()
    table = (build.dir / "strace.out").read_text()
    return Counter({name: int(calls) for calls, name in ROW.findall(table) if name != "total"}), sent


def per_request(build, server, shape, requests, cpu):
    short, few = count(build, server, shape, requests, cpu)
    long, many = count(build, server, shape, requests * 5, cpu)
    rates = {name: (long[name] - short[name]) / (many - few) for name in long}
    return {name: rate for name, rate in rates.items() if rate >= 0.001}


def measure(build, server, shape, requests, cpu):
    """Calls a request by name; None when the server cannot do it."""
    try:
        return per_request(build, server, shape, requests * shape.depth, cpu)
    except (lib.Bad, lib.Unavailable) as why:
        say(f"{server.name}, {shape.name}: {why}")
        return None


def measure_all(build, servers, names=SHAPES, requests=REQUESTS, cpu=0):
    """By shape and server."""
    shapes = [lib.SHAPES[name] for name in names]
    return {shape.name: {server.name: measure(build, server, shape, requests, cpu) for server in servers if server.fits(shape)}
            for shape in shapes}


def row(name, rates):
    if not rates:
        return [name, "-", "-"]
    order = sorted(rates, key=rates.get, reverse=True)
    return [name, f"{sum(rates.values()):.3f}", ", ".join(f"{call} {rates[call]:.3f}" for call in order)]


def table(by_server):
    return lib.markdown(["server", "calls", "by name"], [row(name, rates) for name, rates in by_server.items()])


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = lambda text: text.split(",")
    p.add_argument("--servers", type=names, default=SERVERS, help=",".join(lib.SERVERS))
    p.add_argument("--shapes", type=names, default=SHAPES, help=",".join(lib.SHAPES))
    p.add_argument("--peers", action="append", default=[], metavar="NAME=COMMAND")
    p.add_argument("--requests", type=int, default=REQUESTS, help="of the short run; pipelined: writes")
    p.add_argument("--cpu", type=int, default=0)
    p.add_argument("--no-install", action="store_true", help="never run apt-get")
    return p.parse_args()


def run(args, build):
    build.need("strace")
    found = measure_all(build, lib.make_servers(build, args.servers, args.peers), args.shapes, args.requests, args.cpu)
    print("# System calls a request\n")
    print("\n".join(f"- {name}: {text}" for name, text in lib.facts()) + "\n")
    for name, by_server in found.items():
        print(f"## {name}: {lib.SHAPES[name].title}\n\n{table(by_server)}\n")


def main():
    args = arguments()
    with lib.Build(not args.no_install) as build:
        run(args, build)


if __name__ == "__main__":
    main()
