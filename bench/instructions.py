#!/usr/bin/env python3
"""Counts user-space instructions a request, by callgrind: exact where times are noisy.

    bench/instructions.py
    bench/instructions.py --servers tfb,floor_epoll,microhttpd --shapes plain64

Each server answers N requests and then five times N; the difference, divided, leaves out starting, and opening
connections (except where every request is a connection). The kernel's instructions are not counted.
"""
import argparse
import re
import subprocess
import time

import benchlib as lib
from benchlib import say

SHAPES = ["plain64", "varied64", "json256", "pipelined16", "variedpipe16", "close"]
SERVERS = lib.OURS_AND_FLOORS
REQUESTS = 640


def dump(build, running, number):
    """What callgrind counted since the dump before; it starts again from zero."""
    done = subprocess.run([build.need("callgrind_control", "valgrind"), "-d", str(running.pid)], timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    parts = build.dir.glob(f"callgrind.out.{number}*")    # one file, or one for each thread
    counts = [re.search(r"^(?:summary|totals): (\d+)", part.read_text(), re.M) for part in parts]
    if not counts or None in counts:
        raise lib.Bad(f"callgrind wrote no result: {done.stdout.strip()}")
    return sum(int(count.group(1)) for count in counts)


def per_request(build, server, shape, requests, cpu):
    """The difference between a short and a long run of one server, which has answered before."""
    prefix = [build.need("valgrind"), "--tool=callgrind", "--trace-children=yes",    # ours are started by env
              f"--callgrind-out-file={build.dir}/callgrind.out"]
    counts, sent = [], []
    for old in build.dir.glob("callgrind.out*"):
        old.unlink()
    with lib.Running(server, shape, cpu, prefix, patience=60) as running:
        for number, n in enumerate((requests, requests, requests * 5), 1):
            sent.append(lib.fixed_load(build, running, n, cpu))
            time.sleep(0.3)     # the server closes the connections: once in each run
            counts.append(dump(build, running, number))
        running.process.kill()      # a polite end could take long: valgrind lets no signal interrupt io_uring_enter
    return (counts[2] - counts[1]) / (sent[2] - sent[1])


def measure(build, server, shape, requests, cpu):
    """Instructions a request; None when the server cannot do it."""
    try:
        return per_request(build, server, shape, requests * shape.depth, cpu)
    except (lib.Bad, lib.Unavailable, subprocess.TimeoutExpired) as why:
        say(f"{server.name}, {shape.name}: {why}")
        return None


def measure_all(build, servers, names=SHAPES, requests=REQUESTS, cpu=0):
    """By server and shape."""
    shapes = [lib.SHAPES[name] for name in names]
    return {server.name: {shape.name: measure(build, server, shape, requests, cpu) for shape in shapes if server.fits(shape)}
            for server in servers}


def table(found, names=SHAPES):
    form = lambda count: "-" if count is None else f"{count:.0f}"
    return lib.markdown(["server", *names], [[name, *(form(counts.get(n)) for n in names)] for name, counts in found.items()])


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
    build.need("valgrind")
    found = measure_all(build, lib.make_servers(build, args.servers, args.peers), args.shapes, args.requests, args.cpu)
    print("# User instructions a request\n")
    print("\n".join(f"- {name}: {text}" for name, text in lib.facts()))
    print(f"- valgrind: {lib.version_of(['valgrind', '--version'])}\n")
    print(table(found, args.shapes))


def main():
    args = arguments()
    with lib.Build(not args.no_install) as build:
        run(args, build)


if __name__ == "__main__":
    main()
