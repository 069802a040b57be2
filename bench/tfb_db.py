#!/usr/bin/env python3
"""What a request with a database query costs the server: examples/tfb.c's /db, beside what its parts cost and beside npm's postgres behind Fastify.

    bench/tfb_db.py                    # five rounds of three seconds: about two minutes
    bench/tfb_db.py --rounds 3 --seconds 1

Starts its own PostgreSQL (tests/pg.sh). One worker on CPU 0; PostgreSQL and wrk (64 connections) on CPU 1. Each round measures in turn, CPU time of the
server's process: /plaintext and /db of tfb, a query of chopin_pg.h alone (pg_ours.c, 32 in flight, the backend on CPU 1) and /db of Fastify.
The bars: /db at most 1.25 of /plaintext and query together, and at least 3 times cheaper than Fastify's. Exit status 1 when one is missed.
A worker that has nothing to do sleeps, and waking up costs it as much as a request; PostgreSQL on one CPU leaves it much such time. So /plaintext is also
measured at the rate that /db reached (hload, open loop), and the first ratio is printed beside that, too.
Standard library only, Python 3.9 or newer, Linux."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import benchlib as lib
from benchlib import BENCH, ROOT, say

CONNECTIONS = 64
IN_FLIGHT = 32                 # 64 handlers share two connections
FASTIFY, POSTGRES = "5.2.1", "3.4.5"
WORLD = """
create table world (id int primary key, randomnumber int not null, n int not null);
insert into world select g, 1 + floor(random() * 10000)::int, g * 7 from generate_series(1, 10000) g;
vacuum analyze;
"""


def compile_c(source, output, *more):
    made = subprocess.run(lib.CC + lib.CFLAGS + [str(source), "-o", str(output), *more], capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stderr)
    return str(output)


def fastify_in(folder):
    """The command that starts the peer, or None."""
    folder.mkdir()
    (folder / "peer_fastify.mjs").write_bytes((BENCH / "peer_fastify.mjs").read_bytes())
    wanted = [f"fastify@{FASTIFY}", f"postgres@{POSTGRES}"]
    said = lib.output_of(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", *wanted], cwd=folder)
    if not (folder / "node_modules" / "fastify").exists():
        say(f"the peer is left out: npm cannot install {' '.join(wanted)}: {said.strip()[-200:]}")
        return None
    return ["node", str(folder / "peer_fastify.mjs")]


class Server:
    """A program on CPU 0 that listens on a port of its own."""

    def __init__(self, command, port):
        self.port = port
        self.process = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/db", timeout=2).read()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{command[0]} does not answer /db")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def pin_backends(server_pid):
    """Every process of the PostgreSQL server onto CPU 1."""
    for pid in lib.family(server_pid):
        try:
            os.sched_setaffinity(pid, {1})
        except OSError:
            pass


def cost(args, server, path, postmaster, hload=None, rate=0.0):
    """CPU microseconds of the server for a request, and requests a second; at `rate` a second by hload, else as many as wrk gets answered."""
    pin_backends(postmaster)
    url = f"http://127.0.0.1:{server.port}{path}"
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{args.seconds}s", "--timeout", "2s", "-s", str(BENCH / "wrk_report.lua"), url]
    if rate:
        load = [hload, "-p", str(server.port), "-u", path, "-c", str(CONNECTIONS), "-d", str(args.seconds), "-w", "0", "-r", f"{rate:g}"]
    command = ["taskset", "-c", "1", *load]
    before = lib.cpu_ns(server.process.pid)
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1])
    spent = lib.cpu_ns(server.process.pid) - before
    if report["errs"] or report["non200"] or not report["n"]:
        raise SystemExit(f"{path}: {report}")
    return spent / 1000 / report["n"], report["n"] / report["s"]


def query_cost(args, program):
    ran = subprocess.run([program, "each", str(IN_FLIGHT), str(args.seconds), "unix", "split"], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)["cpu_us"]


def rounds_of(args, tfb, program, hload, peer, postmaster):
    found = {"plain": [], "paced": [], "query": [], "db": [], "fastify": []}
    for number in range(args.rounds):
        found["plain"].append(cost(args, tfb, "/plaintext", postmaster)[0])
        found["query"].append(query_cost(args, program))
        db, rate = cost(args, tfb, "/db", postmaster)
        found["db"].append(db)
        found["paced"].append(cost(args, tfb, "/plaintext", postmaster, hload, rate)[0])
        if peer:
            found["fastify"].append(cost(args, peer, "/db", postmaster)[0])
        say(f"round {number + 1} of {args.rounds}")
    return found


def report(found):
    names = {"plain": "tfb /plaintext", "paced": "tfb /plaintext, at the rate of /db", "query": "a query of chopin_pg.h", "db": "tfb /db", "fastify": f"Fastify {FASTIFY}, postgres {POSTGRES}: /db"}
    print("| what | CPU us each |\n|---|---|")
    for key, name in names.items():
        if found[key]:
            print(f"| {name} | {statistics.median(found[key]):.2f} ({min(found[key]):.2f}-{max(found[key]):.2f}) |")
    parts, paced = (statistics.median(d / (p + q) for d, p, q in zip(found["db"], found[plain], found["query"])) for plain in ("plain", "paced"))
    bars = [("/db over plaintext and query", parts, parts <= 1.25, "at most 1.25")]
    if found["fastify"]:
        times = statistics.median(f / d for f, d in zip(found["fastify"], found["db"]))
        bars.append(("Fastify's /db over ours", times, times >= 3, "at least 3"))
    print(f"\n/db over plaintext at its rate and query: {paced:.2f}")
    print("\n| bar | ratio | wanted | |\n|---|---|---|---|")
    for name, ratio, good, wanted in bars:
        print(f"| {name} | {ratio:.2f} | {wanted} | {'holds' if good else '**missed**'} |")
    return all(good for _, _, good, _ in bars)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    if "CHOPIN_PG_URL" not in os.environ:
        os.execv(str(ROOT / "tests" / "pg.sh"), ["pg.sh", sys.executable, str(Path(__file__).resolve())] + sys.argv[1:])
    for tool in ("wrk", "npm"):
        lib.need(tool)
    postmaster = int((Path(os.environ["CHOPIN_PG_SOCKETS"]) / "data" / "postmaster.pid").read_text().split()[0])
    os.environ["DATABASE_URL"] = os.environ["CHOPIN_PG_URL"]
    psql = [os.path.join(os.environ["CHOPIN_PG_BIN"], "psql"), "-qX", "-v", "ON_ERROR_STOP=1", os.environ["CHOPIN_PG_URL"]]
    subprocess.run(psql, input=WORLD, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        program = compile_c(BENCH / "pg_ours.c", folder / "pg_ours", "-lm")
        hload = compile_c(BENCH / "hload.c", folder / "hload", "-lm")
        ports = [lib.free_port(), lib.free_port()]
        tfb = Server([compile_c(ROOT / "examples" / "tfb.c", folder / "tfb", "-pthread"), "--listen", f"127.0.0.1:{ports[0]}", "--workers", "1"], ports[0])
        command = fastify_in(folder / "peer")
        peer = Server(command + [str(ports[1])], ports[1]) if command else None
        try:
            found = rounds_of(args, tfb, program, hload, peer, postmaster)
        finally:
            tfb.stop()
            if peer:
                peer.stop()
    print(f"PostgreSQL {os.environ['CHOPIN_PG_VERSION']}, {CONNECTIONS} connections, {args.rounds} rounds of {args.seconds} s, commit {lib.commit()}, "
          f"{time.strftime('%Y-%m-%d %H:%M')}\n")
    sys.exit(0 if report(found) else 1)


if __name__ == "__main__":
    main()
