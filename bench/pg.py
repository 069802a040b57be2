#!/usr/bin/env python3
"""chopin_pg.h beside libpq and a floor client: the table of PG.md section 6, in one run.

    bench/pg.py                                  # everything, five rounds of two seconds: about seven minutes
    bench/pg.py --rounds 3 --seconds 1 --cases one,each:20 --transport tcp --pinning split

Starts its own server (tests/pg.sh), builds pg_floor.c, pg_libpq.c (left out without libpq-dev) and pg_ours.c, and runs them in turn, A B C, B C A:
a slow minute hits all. Shown: median and, in brackets, minimum and maximum; a ratio is the median of the ratios within a round. Ratios are what counts;
CPU times are what the kernel charged to the client (user: as sampled by its tick). Exit status 1 when a bar of PG.md is missed.
Standard library only, Python 3.9 or newer, Linux."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CC = os.environ.get("CC", "cc").split()
CFLAGS = os.environ.get("CFLAGS", "-O2").split()

SETUP = """
create table world (id int primary key, n int);
insert into world select g, g * 7 from generate_series(1, 10000) g;
create table big as select g as id, g * 7 as n, 'row ' || g as t from generate_series(1, 500000) g;
create unlogged table sink (id int, n int);
vacuum analyze;
"""

# case:depth, what it is, and the bars: (measure, of whom, at most)
CASES = [
    ("one:1", "one at a time", [("user_us", "floor", 1.25), ("user_us", "libpq", 0.55), ("calls", "floor", 1.0)]),
    ("one_sync:20", "one Sync, 20 deep", [("cpu_us", "floor", 1.3), ("cpu_us", "libpq", 0.75)]),
    ("one_sync:100", "one Sync, 100 deep", [("cpu_us", "floor", 1.8), ("cpu_us", "libpq", 0.45)]),
    ("each:20", "Sync each, 20 deep", [("cpu_us", "floor", 1.15), ("cpu_us", "libpq", 0.85)]),
    ("each_late:100", "Sync each, 100 deep, late reads", [("cpu_us", "floor", 1.25)]),
    ("rows:1", "500 k rows x 3 getters", [("user_us", "floor", 2.5), ("user_us", "libpq:rows_single:1", 0.12)]),
    ("copy_out:1", "COPY binary out", [("user_us", "libpq", 0.5)]),
    ("copy_in:1", "COPY binary in", [("user_us", "libpq", 0.6)]),
    ("connect:1", "connect, SCRAM 4096", [("cpu_us", "libpq", 1.0)]),
    ("reconnect:1", "connect, SCRAM, cached key", [("cpu_us", "libpq:connect:1", 0.1)]),
]
EXTRA = {"rows:1": ["rows_single:1"]}          # measured for libpq beside the case
LOCAL = {"reconnect"}                          # cases only we have
LONGER = {"one": 4}                            # times as long: the tick that samples user time finds the floor's there 15 times a second


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(folder):
    """The programs that can be built: {client: path}."""
    found = {}
    libpq = subprocess.run(["pg_config", "--includedir"], capture_output=True, text=True).stdout.strip() if shutil.which("pg_config") else ""
    for client, more in (("floor", []), ("libpq", [f"-I{libpq}", "-lpq"]), ("ours", ["-lm"])):
        command = CC + CFLAGS + [str(BENCH / f"pg_{client}.c"), "-o", str(folder / client)] + more
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode == 0:
            found[client] = folder / client
        elif client == "libpq":
            say("libpq is left out: pg_libpq.c does not compile here (apt-get install libpq-dev)")
        else:
            sys.exit(made.stderr)
    return found


def measure(program, case, args):
    name, depth = case.split(":")
    command = [str(program), name, depth, str(args.seconds * LONGER.get(name, 1)), args.transport, args.pinning]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60 + args.seconds * 10)
    if ran.returncode == 3:
        return None
    if ran.returncode != 0:
        say(f"{' '.join(command)}: {ran.stderr.strip() or ran.stdout.strip()}")
        return None
    return json.loads(ran.stdout)


def rounds_of(programs, cases, args):
    """results[client][case] = [one per round]"""
    results = {client: {} for client in programs}
    for number in range(args.rounds):
        order = list(programs)
        order = order[number % len(order):] + order[:number % len(order)]
        for case in cases:
            for client in order:
                for each in [case] + (EXTRA.get(case, []) if client == "libpq" else []):
                    if each.split(":")[0] in LOCAL and client != "ours":
                        continue
                    got = measure(programs[client], each, args)
                    results[client].setdefault(each, []).append(got)
        say(f"round {number + 1} of {args.rounds}")
    return results


def spread(results, client, case, what):
    values = [r[what] for r in results.get(client, {}).get(case, []) if r]
    return (statistics.median(values), min(values), max(values)) if values else None


def ratio(results, case, what, of):
    """The median over the rounds of ours / theirs; of: client or client:case:depth. User time is sampled by a slow tick: there the sums are divided."""
    client, _, other = of.partition(":")
    ours, theirs = results.get("ours", {}).get(case, []), results.get(client, {}).get(other or case, [])
    if what == "user_us":
        mine, other_sum = (sum(r[what] * r["done"] for r in runs if r) / max(1, sum(r["done"] for r in runs if r)) for runs in (ours, theirs))
        return mine / other_sum if mine and other_sum else None
    pairs = [a[what] / b[what] for a, b in zip(ours, theirs) if a and b and b[what] > 0]
    return statistics.median(pairs) if pairs else None


def number(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def table(results, cases):
    print("| case | client | CPU us each | user us | server us | calls | mallocs | a second | RSS KiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case, title, _ in cases:
        for client in ("floor", "libpq", "ours"):
            for each in [case] + (EXTRA.get(case, []) if client == "libpq" else []):
                runs = [r for r in results.get(client, {}).get(each, []) if r]
                if not runs:
                    continue
                cpu = spread(results, client, each, "cpu_us")
                name = client + (" single-row" if each != case else "")
                rate = statistics.median(r["done"] / r["seconds"] for r in runs)
                cells = [number(statistics.median(r[k] for r in runs)) for k in ("user_us", "backend_us", "calls", "mallocs")]
                print(f"| {title} | {name} | {number(cpu[0])} [{number(cpu[1])} - {number(cpu[2])}] | {' | '.join(cells)} | {rate:.0f} | {max(r['rss_kb'] for r in runs)} |")


def bars(results, cases):
    missed = 0
    print("\n| bar | ours / theirs | at most | |\n|---|---|---|---|")
    for case, title, wanted in cases:
        for what, of, most in wanted:
            got = ratio(results, case, what, of)
            good = got is not None and got <= most * 1.0005
            missed += got is not None and not good
            print(f"| {title}: {what} / {of.partition(':')[0]} | {number(got)} | {most} | {'-' if got is None else 'holds' if good else '**missed**'} |")
    for case, title, _ in cases:
        runs = [r for r in results.get("ours", {}).get(case, []) if r]
        if case == "one:1" and runs:
            mallocs = max(r["mallocs"] for r in runs)
            missed += mallocs > 0.001
            print(f"| {title}: heap calls a query | {number(mallocs)} | 0 | {'holds' if mallocs <= 0.001 else '**missed**'} |")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cases", default="", help="comma separated, e.g. one,each:20")
    parser.add_argument("--transport", choices=("unix", "tcp"), default="unix")
    parser.add_argument("--pinning", choices=("one", "split", "free"), default="one")
    parser.add_argument("--json", help="write every measurement there")
    args = parser.parse_args()
    if "CHOPIN_PG_URL" not in os.environ:
        os.execv(str(ROOT / "tests" / "pg.sh"), ["pg.sh", sys.executable, str(Path(__file__).resolve())] + sys.argv[1:])
    wanted = [w for w in args.cases.split(",") if w]
    cases = [c for c in CASES if not wanted or c[0] in wanted or c[0].split(":")[0] in wanted]
    subprocess.run([os.path.join(os.environ["CHOPIN_PG_BIN"], "psql"), "-qX", "-v", "ON_ERROR_STOP=1", os.environ["CHOPIN_PG_URL"]], input=SETUP, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        programs = build(Path(folder))
        results = rounds_of(programs, [c[0] for c in cases], args)
    print(f"PostgreSQL {os.environ['CHOPIN_PG_VERSION']}, {args.transport}, pinning {args.pinning}, {args.rounds} rounds of {args.seconds} s, "
          f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}\n")
    table(results, cases)
    missed = bars(results, cases)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
