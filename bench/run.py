#!/usr/bin/env python3
"""Measures servers against a floor and against each other: CPU time a request, requests a second, latency.

    bench/run.py                                         everything, about 75 minutes
    bench/run.py --quick                                 a try: ours and the floors, two rounds of one second
    bench/run.py --shapes plain64,close --rounds 3       less
    bench/run.py --options                               only the effect of each option of ours
    bench/run.py --peers "mine=./mine --port {port}"     one more server, which answers the same routes

Each server runs with one worker on one CPU, the load generator on another. README.md says what the columns mean.
"""
import argparse
import json
import shlex
import sys
import time

import bars
import benchlib as lib
import instructions
import measure
import memory
import options
import picture
import report
import syscalls
from benchlib import say

SECTIONS = ("shapes", "options", "instructions", "syscalls", "memory", "size")
IDLE = 10000


# ---- the sections: each returns Markdown, raw figures, and bars -------------------------------------------------

class Output:
    """The report as it grows, printed at once; written to bench/results at the end."""

    def __init__(self):
        self.folder, self.stem = lib.BENCH / "results", time.strftime("%Y%m%d-%H%M%S")
        self.texts, self.raw, self.bars = [], {}, []
        self.folder.mkdir(exist_ok=True)

    def add(self, text, name=None, raw=None, found=()):
        print(text, flush=True)
        self.texts.append(text)
        self.bars += found
        if name:
            self.raw[name] = raw

    def picture(self, name, text):
        """Name of the file, empty when there is nothing to show."""
        file = f"{self.stem}-{name}.svg"
        if text:
            (self.folder / file).write_text(text)
        return file if text else ""

    def save(self):
        if not self.texts:
            return
        file = self.folder / f"{self.stem}.md"
        file.write_text("\n".join(self.texts))
        file.with_suffix(".json").write_text(json.dumps(dict(self.raw, bars=self.bars), indent=1))
        say(f"written to {file.relative_to(lib.ROOT)}, .json and .svg")


def heading(args, servers):
    setup = (f"{args.rounds} interleaved rounds of {args.seconds:g} s, then {args.more} of ours, the floors and the best peers alone, warm-up {measure.WARM_UP_S} s; server on CPU "
             f"{args.server_cpu}, load on CPU {args.load_cpu}; median (minimum-maximum)")
    lines = ["# Benchmark", ""] + [f"- {name}: {text}" for name, text in lib.facts() + [("rounds", setup)]]
    generator = lib.output_of(["wrk", "-v"]).split("\n")[0].split(" [")[0] if args.load == "wrk" else "hload"
    lines += [f"- load: {generator}", f"- command: `{shlex.join(sys.argv)}`"]
    return "\n".join(lines + [f"- {s.name}: {s.version}" for s in servers]) + "\n"


def legible(build, words):
    """A command line without the folders of this machine, and with long header lines cut."""
    words = [w if len(w) < 100 else w[:40] + "..." for w in words]
    return shlex.join(words).replace(f"{build.dir}/", "").replace(f"{lib.BENCH}/", "")


# Where connections are short, ours and the floors run a second time with TCP_DEFER_ACCEPT: some peers set it.
DEFERRED = {"tfb": lib.tuned_defer, "tfb_uring": lib.tuned_uring_defer,
            "floor_epoll": lib.floor_epoll_defer, "floor_uring": lib.floor_uring_defer}


def with_deferred(build, servers, shape):
    names = {s.name for s in servers}
    makers = [maker for name, maker in DEFERRED.items() if name in names and maker.__name__ not in names]
    return [*servers, *(maker(build) for maker in makers)] if shape.close else servers


def close_calls(entries, result):
    """Whose bars are within a few per cent, which five rounds cannot tell: ours, the floors and the best peers, or the libraries beside us."""
    shape = result.shape
    near = {name for key in ("cpu_us", "half_p99_us") for name in result.best_debian(key)}
    return [e for e in entries if e[0].kind != "peer" or shape.ws or e[0].name in near] if shape.bar or shape.p99_bar or shape.half or shape.ws else []


def bench_shape(args, build, servers, shape):
    say(f"{shape.name}: {shape.title}")
    good = measure.checked(args, with_deferred(build, servers, shape), shape)
    entries = [(g["server"], shape, args.server_cpu) for g in good.values()]
    if shape.beside and any(g["server"].kind == "ours" for g in good.values()):
        other = lib.SHAPES[shape.beside]
        plain = measure.checked(args, [lib.beside(maker(build), other) for maker in (lib.tfb, lib.tfb_uring)], other)
        good.update(plain)
        entries += [(g["server"], other, args.server_cpu) for g in plain.values()]
    load = measure.load_command(args, build, shape, "PORT", args.seconds)
    result = report.Result(shape, good, measure.run_rounds(args, build, entries), f"taskset -c {args.load_cpu} " + legible(build, load))
    result.rounds += measure.run_more_rounds(args, build, close_calls(entries, result))
    return result


def raw_of(result):
    """For the JSON: all rounds, void ones with their reason."""
    servers = {name: {"kind": g["server"].kind, "bytes": g["bytes"], "options": g["options"]}
               for name, g in result.good.items()}
    return {"servers": servers, "rounds": result.rounds}


def commands(args, build, servers, shapes):
    """Every command line once, not once for each shape."""
    lines = dict.fromkeys(f"- {s.name}: `taskset -c {args.server_cpu} {legible(build, s.command(shape, 'PORT'))}`"
                          for s in servers for shape in shapes if s.fits(shape))
    return "## Server command lines\n\n" + "\n".join(lines) + "\n"


def add_shapes(args, build, out):
    shapes = [lib.SHAPES[name] for name in args.shapes]
    build.need("wrk" if args.load == "wrk" else "taskset", "wrk" if args.load == "wrk" else "util-linux")
    servers = lib.make_servers(build, names_of(args, shapes), args.peers, args.variants)
    out.add(heading(args, servers), "facts", dict(lib.facts()))
    for shape in shapes:
        result = bench_shape(args, build, servers, shape)
        if not result.good:
            out.add(f"## {shape.name}: no server answers it\n")
            continue
        drawn = out.picture(shape.name, picture.svg(result))
        out.add(report.section(result, drawn), shape.name, raw_of(result), bars.of_shape(result))
    out.add(commands(args, build, servers, shapes))


def add_options(args, build, out):
    text, rounds = options.section(args, build)
    out.add(text, "options", rounds)


def counted_servers(args, build, names):
    """Those of a section that counts; ours and the floors in a quick run."""
    names = args.servers or [n for n in names if n in lib.OURS_AND_FLOORS or not args.quick]
    return lib.make_servers(build, names)


def add_instructions(args, build, out):
    say("instructions")
    build.need("valgrind")
    found = instructions.measure_all(build, counted_servers(args, build, instructions.SERVERS), cpu=args.server_cpu)
    out.add(f"## User instructions a request\n\n{instructions.table(found)}\n", "instructions", found,
            bars.of_instructions(found))


def add_syscalls(args, build, out):
    say("system calls")
    build.need("strace")
    found = syscalls.measure_all(build, counted_servers(args, build, syscalls.SERVERS), cpu=args.server_cpu)
    tables = [f"{name}: {lib.SHAPES[name].title}\n\n{syscalls.table(by_server)}\n" for name, by_server in found.items()]
    out.add("## System calls a request\n\n" + "\n".join(tables), "syscalls", found, bars.of_syscalls(found))


def add_memory(args, build, out):
    say("memory")
    servers = counted_servers(args, build, lib.DEFAULT_SERVERS)
    count, found = memory.measure_all(build, servers, IDLE, args.server_cpu)
    out.add(f"## Resident memory, {count:,} idle connections\n\n{memory.table(found)}\n", "memory", found,
            bars.of_memory(found))


def add_size(args, build, out):
    say("size")
    text = lib.output_of([str(lib.BENCH / "size.sh")])
    out.add(f"## Size of examples/hello.c\n\n{text}", "size", text)


# ---- main -----------------------------------------------------------------------------------------------------

def parser():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = lambda text: text.split(",")
    p.add_argument("--quick", action="store_true", help="two rounds of one second, ours and the floors")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--more", type=int, default=10, help="further rounds, of ours, the floors and the best peers alone")
    p.add_argument("--seconds", type=float, default=1, help="measured time of each run (wrk: whole seconds)")
    p.add_argument("--shapes", type=names, help="then no other section, unless --sections; " + ",".join(lib.SHAPES))
    p.add_argument("--sections", type=names, help=",".join(SECTIONS))
    p.add_argument("--options", action="store_true", help="the same as --sections options")
    p.add_argument("--servers", type=names, help=",".join(lib.SERVERS))
    p.add_argument("--peers", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more server; {port} in the command. Several: each in quotes of its own")
    p.add_argument("--variants", action="append", default=[], metavar="NAME=COMMAND",
                   help="the same for a server of ours; {build}/tfb is the one built here")
    p.add_argument("--load", choices=("wrk", "hload"), default="wrk")
    p.add_argument("--rate", type=float, default=0, help="open loop at this many requests a second, by hload")
    p.add_argument("--server-cpu", type=int, default=0)
    p.add_argument("--load-cpu", type=int, default=1)
    p.add_argument("--no-install", action="store_true", help="never run apt-get")
    return p


def arguments():
    p = parser()
    args = p.parse_args()
    args.sections = args.sections or (["options"] if args.options else ["shapes"] if args.shapes else SECTIONS)
    args.shapes = args.shapes or lib.DEFAULT_SHAPES
    args.peers = [one for text in args.peers for one in lib.split_peers(text)]
    if args.quick:
        args.rounds, args.more, args.seconds = 2, 0, 1
    for given, known in ((args.shapes, lib.SHAPES), (args.sections, SECTIONS)):
        if set(given) - set(known):
            p.error(f"not known: {', '.join(sorted(set(given) - set(known)))}; there are: {', '.join(known)}")
    return args


def names_of(args, shapes):
    """The servers to measure; those that only some kinds of shape need join where one is asked for."""
    if args.servers:
        return args.servers
    kinds = dict.fromkeys(shape.kind for shape in shapes)
    more = [name for kind in kinds for name in lib.OURS_FOR.get(kind, []) + ([] if args.quick else lib.PEERS_FOR.get(kind, []))]
    return list(dict.fromkeys((lib.OURS_AND_FLOORS if args.quick else lib.DEFAULT_SERVERS) + more))


def add_section(args, build, out, name):
    try:
        globals()[f"add_{name}"](args, build, out)
    except lib.Unavailable as why:
        if args.sections == [name]:
            raise
        out.add(f"## {name}: not measured\n\n{why}\n")


def run(args, build):
    out = Output()
    try:
        for name in SECTIONS:
            if name in args.sections:
                add_section(args, build, out, name)
        if out.bars:
            out.add(bars.section(out.bars))
    finally:
        out.save()    # what an interrupted run has measured, too


def main():
    args = arguments()
    with lib.Build(not args.no_install) as build:
        run(args, build)


if __name__ == "__main__":
    main()
