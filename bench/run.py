#!/usr/bin/env python3
"""Measures servers against a floor and against each other: CPU time a request, requests a second, p99.

    bench/run.py                                         everything, about twenty minutes
    bench/run.py --shapes plain64,close --rounds 3       less
    bench/run.py --load hload                            a generator cheaper than wrk
    bench/run.py --peers "mine=./mine --port {port}"     one more server, which answers the same routes

Each server runs with one worker on one CPU, the load generator on another. README.md says what the columns mean.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

import benchlib as lib
from benchlib import say

STALLED_USE = 0.3     # of the CPU time that others left: with 16 connections or more, less means that requests hang
WARM_UP_S = 0.3


# ---- load generators ------------------------------------------------------------------------------------------

def wrk_command(build, shape, port, seconds):
    command = [build.need("wrk"), "-t1", f"-c{shape.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "2s",
               "-s", str(lib.BENCH / "wrk_report.lua")]
    headers = [*shape.headers, *(["Connection: close"] if shape.close else [])]
    for line in headers:
        command += ["-H", line]
    return command + [f"http://127.0.0.1:{port}{shape.path}", "--", str(shape.depth)]


def hload_command(build, shape, port, seconds, rate=0):
    command = [build.tool("hload"), "-p", str(port), "-u", shape.path, "-c", str(shape.connections),
               "-d", str(seconds), "-w", "0", "-P", str(shape.depth)]
    for line in shape.headers:
        command += ["-H", line]
    command += ["-x"] if shape.close else []
    command += ["-B", str(shape.body)] if shape.body else []
    return command + (["-r", str(rate)] if rate else [])


def load_command(args, build, shape, port, seconds):
    if args.load == "wrk" and not shape.body:      # wrk has no cheap way to send bodies
        return wrk_command(build, shape, port, seconds)
    return hload_command(build, shape, port, seconds, args.rate)


def run_load(args, command):
    """The generator's own report, with the CPU seconds it used as "cpu_s"."""
    process = subprocess.Popen(["taskset", "-c", str(args.load_cpu), *command], stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = text.strip().splitlines()
    if process.returncode or not lines:
        raise lib.Bad(f"the load generator failed: {lines[-1] if lines else 'no output'}")
    return dict(json.loads(lines[-1]), cpu_s=usage.ru_utime + usage.ru_stime)


def warm_up(args, build, running):
    """A short run by hload, which can do less than wrk's shortest run of a second; by wrk where hload cannot run."""
    shape = running.shape
    try:
        run_load(args, hload_command(build, shape, running.port, WARM_UP_S))
    except (lib.Bad, lib.Unavailable):
        run_load(args, wrk_command(build, shape, running.port, 1))


# ---- one measurement ------------------------------------------------------------------------------------------

def busy_s(cpu):
    """Seconds that a CPU has been busy, whoever used it."""
    with open("/proc/stat") as stat:
        line = next(l for l in stat if l.startswith(f"cpu{cpu} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def void_reason(shape, report, use):
    if report["n"] == 0:
        return "no replies"
    if report.get("stuck") or (shape.connections >= 16 and use < STALLED_USE):
        return f"stalled: {report.get('stuck', 'some')} connections wait for replies that do not come"
    if report["errs"]:
        return f"{report['errs']} errors"
    if report["non200"]:
        return f"{report['non200']} replies were not 200"
    return ""


def p99_us(args, shape, report):
    """None when wrk pipelines: its correction for coordinated omission then yields 0 or nonsense."""
    return None if args.load == "wrk" and shape.depth > 1 else report["p99"]


def measure(args, build, server, shape):
    """One server, one shape, once. The result's "void" says why it does not count, if it does not."""
    try:
        with lib.Running(server, shape, args.server_cpu) as running:
            warm_up(args, build, running)
            cpu, busy, begin = lib.cpu_ns(running.pid), machine_busy(args), time.monotonic()
            report = run_load(args, load_command(args, build, shape, running.port, args.seconds))
            wall, cpu = time.monotonic() - begin, (lib.cpu_ns(running.pid) - cpu) / 1e9
            others = max(0, machine_busy(args) - busy - cpu - report["cpu_s"])
    except (lib.Bad, lib.Unavailable) as why:
        return {"void": str(why)}
    n, server_busy, load_busy = max(1, report["n"]), cpu / wall, report["cpu_s"] / wall
    use = (cpu + report["cpu_s"]) / max(wall / 10, 2 * wall - others)
    return {"void": void_reason(shape, report, use), "n": report["n"], "cpu_us": cpu / n * 1e6,
            "rps": report["n"] / report["s"], "p99_us": p99_us(args, shape, report), "server_busy": server_busy,
            "load_busy": load_busy, "limited": not args.rate and load_busy > 0.95 > server_busy,
            "foreign": others / wall / 2}


def machine_busy(args):
    return busy_s(args.server_cpu) + busy_s(args.load_cpu)


# ---- rounds ---------------------------------------------------------------------------------------------------

def checked(servers, shape, args):
    """The servers whose replies are right, with what the check saw of each."""
    good = {}
    for server in servers:
        if not server.fits(shape):
            continue
        try:
            with lib.Running(server, shape, args.server_cpu) as running:
                reply_bytes, options = lib.check(running)
                good[server.name] = {"server": server, "bytes": reply_bytes, "options": options}
        except (lib.Bad, lib.Unavailable) as why:
            say(f"  {server.name} takes no part in {shape.name}: {why}")
    return good


def add_matching_floor(good, build, shape, args):
    """A second floor when connections are short and a server leaves them to TCP_DEFER_ACCEPT."""
    if shape.close and "floor_epoll" in good and any(g["options"].get("defer_accept") for g in good.values()):
        good.update(checked([lib.floor_epoll_defer(build)], shape, args))


def run_round(args, build, good, shape, number):
    names = list(good)
    names = names[number % len(names):] + names[:number % len(names)]
    results = {}
    for name in names:
        results[name] = measure(args, build, good[name]["server"], shape)
        if results[name]["void"]:
            say(f"  round {number + 1} of {name} is void: {results[name]['void']}")
    return results


# ---- statistics -----------------------------------------------------------------------------------------------

def values(rounds, name, key):
    return [r[name][key] for r in rounds if name in r and not r[name]["void"]]


def median(numbers):
    return statistics.median(numbers) if numbers else None


def ratio(rounds, name, other, key="cpu_us"):
    """Median of the ratios within each round, so that a slow minute of the machine hits both."""
    both = [r for r in rounds if name in r and other in r and not r[name]["void"] and not r[other]["void"]]
    return median([r[name][key] / r[other][key] for r in both if r[other][key]])


def floor_of(good, name):
    deferred = good[name]["options"].get("defer_accept")
    return "floor_epoll_defer" if deferred and "floor_epoll_defer" in good else "floor_epoll"


def best_peer(good, rounds):
    peers = [n for n in good if good[n]["server"].kind == "peer" and values(rounds, n, "cpu_us")]
    return min(peers, key=lambda n: median(values(rounds, n, "cpu_us")), default=None)


# ---- the report -----------------------------------------------------------------------------------------------

def p99_of(rounds, name):
    return [v for v in values(rounds, name, "p99_us") if v is not None]


def spread(numbers, form):
    if not numbers:
        return "-"
    return f"{form(median(numbers))} ({form(min(numbers))}-{form(max(numbers))})"


def percent(numbers):
    return f"{median(numbers) * 100:.0f} %" if numbers else "-"


def times(number):
    return "-" if number is None else f"{number:.2f}"


def micro(us):
    return f"{us:.2f}" if us < 10 else f"{us:.1f}"


def throughput(rounds, name):
    """With a mark where the generator was the limit: the server could have done more."""
    limited = median(values(rounds, name, "limited"))
    return ("> " if limited else "") + spread(values(rounds, name, "rps"), lambda v: f"{v:,.0f}")


def row(good, rounds, name, best):
    deferred = good[name]["options"].get("defer_accept")
    return [name, spread(values(rounds, name, "cpu_us"), micro), times(ratio(rounds, name, floor_of(good, name))),
            times(ratio(rounds, name, best)), throughput(rounds, name),
            spread(p99_of(rounds, name), lambda v: f"{v:.0f}"), percent(values(rounds, name, "server_busy")),
            percent(values(rounds, name, "load_busy")), str(good[name]["bytes"]),
            {None: "?", 0: "no"}.get(deferred, "yes"), f"{len(values(rounds, name, 'n'))}/{len(rounds)}"]


def shape_report(shape, good, rounds, load):
    best = best_peer(good, rounds)
    order = sorted(good, key=lambda n: median(values(rounds, n, "cpu_us")) or float("inf"))
    head = ["server", "CPU us/request", "/ floor", "/ best peer", "requests/s", "p99 us", "server CPU", "load CPU",
            "reply bytes", "defer accept", "rounds"]
    parts = [f"## {shape.name}: {shape.title}", f"`{load}`", lib.markdown(head, [row(good, rounds, n, best) for n in order])]
    if best:
        parts.append(f"Best peer: {best}.")
    foreign = max((r[n]["foreign"] for r in rounds for n in r if not r[n]["void"]), default=0)
    if foreign > 0.05:
        parts.append(f"**Disturbed**: other programs took up to {foreign * 100:.0f} % of the two CPUs in a round.")
    return "\n\n".join(parts) + "\n"


def heading(args, servers):
    setup = (f"{args.rounds} interleaved rounds of {args.seconds:g} s, warm-up {WARM_UP_S} s; server on CPU "
             f"{args.server_cpu}, load on CPU {args.load_cpu}; median (minimum-maximum)")
    lines = ["# Benchmark", ""] + [f"- {name}: {text}" for name, text in lib.facts() + [("rounds", setup)]]
    generator = lib.output_of(["wrk", "-v"]).split("\n")[0].split(" [")[0] if args.load == "wrk" else "hload"
    lines += [f"- load: {generator}", f"- command: `{shlex.join(sys.argv)}`"]
    return "\n".join(lines + [f"- {s.name}: {s.version}" for s in servers]) + "\n"


def legible(build, words):
    """A command line without the folders of this machine, and with long header lines cut."""
    words = [w if len(w) < 100 else w[:40] + "..." for w in words]
    return shlex.join(words).replace(f"{build.dir}/", "").replace(f"{lib.BENCH}/", "")


def commands_report(args, build, servers, shapes):
    """Every command line once, not once for each shape."""
    lines = dict.fromkeys(f"- {s.name}: `taskset -c {args.server_cpu} {legible(build, s.command(shape, 'PORT'))}`"
                          for s in servers for shape in shapes if s.fits(shape))
    return "## Server command lines\n\n" + "\n".join(lines) + "\n"


# ---- main -----------------------------------------------------------------------------------------------------

def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = lambda text: text.split(",")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2, help="measured time of each run (wrk: whole seconds)")
    p.add_argument("--shapes", type=names, default=lib.DEFAULT_SHAPES, help=",".join(lib.SHAPES))
    p.add_argument("--servers", type=names, default=None, help=",".join(lib.SERVERS))
    p.add_argument("--peers", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more server; {port} in the command")
    p.add_argument("--variants", action="append", default=[], metavar="NAME=COMMAND",
                   help="the same for a server of ours; {build}/tfb is the one built here")
    p.add_argument("--load", choices=("wrk", "hload"), default="wrk")
    p.add_argument("--rate", type=float, default=0, help="hload only: open loop at this many requests a second")
    p.add_argument("--server-cpu", type=int, default=0)
    p.add_argument("--load-cpu", type=int, default=1)
    p.add_argument("--no-install", action="store_true", help="never run apt-get")
    args = p.parse_args()
    if args.rate and args.load != "hload":
        p.error("--rate needs --load hload")
    unknown = set(args.shapes) - set(lib.SHAPES)
    if unknown:
        p.error(f"no shape called {', '.join(sorted(unknown))}; there are: {', '.join(lib.SHAPES)}")
    return args


def default_servers(shapes):
    return lib.DEFAULT_SERVERS + (["kitchen_sink"] if any(s.body for s in shapes) else [])


def bench_shape(args, build, servers, shape):
    say(f"{shape.name}: {shape.title}")
    good = checked(servers, shape, args)
    add_matching_floor(good, build, shape, args)
    if not good:
        return f"## {shape.name}: no server answers it\n", []
    rounds = [run_round(args, build, good, shape, number) for number in range(args.rounds)]
    load = f"taskset -c {args.load_cpu} " + legible(build, load_command(args, build, shape, "PORT", args.seconds))
    return shape_report(shape, good, rounds, load), rounds


def save(report, raw):
    folder = lib.BENCH / "results"
    folder.mkdir(exist_ok=True)
    stem = folder / time.strftime("%Y%m%d-%H%M%S")
    stem.with_suffix(".md").write_text(report)
    stem.with_suffix(".json").write_text(json.dumps(raw, indent=1))
    say(f"written to {stem.with_suffix('.md').relative_to(lib.ROOT)} and .json")


def emit(report, text):
    print(text, flush=True)
    report.append(text)


def run(args, build):
    shapes = [lib.SHAPES[name] for name in args.shapes]
    build.need("wrk" if args.load == "wrk" else "taskset", "wrk" if args.load == "wrk" else "util-linux")
    servers = lib.make_servers(build, args.servers or default_servers(shapes), args.peers, args.variants)
    report, raw = [], {}
    emit(report, heading(args, servers))
    for shape in shapes:
        text, raw[shape.name] = bench_shape(args, build, servers, shape)
        emit(report, text)
    emit(report, commands_report(args, build, servers, shapes))
    save("\n".join(report), raw)


def main():
    args = arguments()
    with lib.Build(not args.no_install) as build:
        run(args, build)


if __name__ == "__main__":
    main()
