"""One measurement of one server: load generators, CPU time, what makes a measurement void; and rounds of them."""
import json
import os
import subprocess
import time

import benchlib as lib
from benchlib import say

STALLED_USE = 0.3     # of the CPU time that others left: with 16 connections or more, less means that requests hang
WARM_UP_S = 0.3
HALF_S = 1            # measured time at half load
LARGE = 1 << 16       # bytes of a file that hload reads, in pieces of that size
STUCK_US = 500000     # hload calls a connection stuck that has waited so long


# ---- load generators ------------------------------------------------------------------------------------------

def wrk_command(build, shape, port, seconds):
    command = [build.need("wrk"), "-t1", f"-c{shape.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "2s",
               "-s", str(lib.BENCH / "wrk_report.lua")]
    headers = [*shape.headers, *(["Connection: close"] if shape.close else [])]
    for line in headers:
        command += ["-H", line]
    return command + [f"http://127.0.0.1:{port}{shape.path}", "--", str(shape.depth)]


def hload_command(build, shape, port, seconds, rate=0.0, warm_up=0.0):
    command = [build.tool("hload"), "-p", str(port), "-u", shape.path, "-c", str(shape.connections),
               "-d", f"{seconds:g}", "-w", f"{warm_up:g}", "-P", str(shape.depth)]
    for line in shape.headers:
        command += ["-H", line]
    command += ["-x"] if shape.close else []
    command += ["-F"] if shape.fast_open else []
    command += ["-B", str(shape.body)] if shape.body else []
    command += ["-b", str(LARGE)] if shape.file >= LARGE else []
    return command + (["-r", f"{rate:g}"] if rate else [])


def wsload_command(build, shape, port, seconds, warm_up=0.0):
    return [build.tool("wsload"), "-p", str(port), "-u", shape.path, "-c", str(shape.connections), "-m", str(shape.ws),
            "-d", f"{seconds:g}", "-w", f"{warm_up:g}"]


def rate_of(args, shape):
    return args.rate or shape.rate


def by_wrk(args, shape):
    """wrk has no cheap way to send bodies, and no open loop; it reads large replies in small pieces."""
    return args.load == "wrk" and not shape.body and shape.file < LARGE and not shape.fast_open and not rate_of(args, shape)


def load_command(args, build, shape, port, seconds):
    if shape.ws:
        return wsload_command(build, shape, port, seconds)
    if by_wrk(args, shape):
        return wrk_command(build, shape, port, seconds)
    return hload_command(build, shape, port, seconds, rate_of(args, shape))


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
    if shape.ws:
        run_load(args, wsload_command(build, shape, running.port, WARM_UP_S))
        return
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


def machine_busy(args):
    return busy_s(args.server_cpu) + busy_s(args.load_cpu)


def void_reason(shape, report, use):
    if report["n"] == 0:
        return "no replies"
    if report.get("stuck") or (shape.connections >= 16 and use < STALLED_USE):
        return f"stalled: {report.get('stuck', 'some')} connections wait for replies that do not come in time"
    if report["errs"]:
        return f"{report['errs']} errors"
    if report["non200"]:
        return f"{report['non200']} replies were not 200"
    return ""


def timed(args, build, running):
    """The measured window. None for latencies when wrk pipelines: its correction for omission then yields nonsense."""
    shape = running.shape
    cpu, busy, begin = lib.cpu_ns(running.pid), machine_busy(args), time.monotonic()
    report = run_load(args, load_command(args, build, shape, running.port, args.seconds))
    wall, cpu = time.monotonic() - begin, (lib.cpu_ns(running.pid) - cpu) / 1e9
    others = max(0, machine_busy(args) - busy - cpu - report["cpu_s"])
    server_busy, load_busy = cpu / wall, report["cpu_s"] / wall
    use = (cpu + report["cpu_s"]) / max(wall / 10, 2 * wall - others)
    latency = {} if by_wrk(args, shape) and shape.depth > 1 else report
    return {"void": void_reason(shape, report, use), "n": report["n"], "cpu_us": cpu / max(1, report["n"]) * 1e6,
            "rps": report["n"] / report["s"], "p50_us": latency.get("p50"), "p99_us": latency.get("p99"),
            "p999_us": latency.get("p999"), "half_p99_us": report["p99_slices"] if rate_of(args, shape) else None, "server_busy": server_busy, "load_busy": load_busy,
            "limited": not rate_of(args, shape) and load_busy > 0.95 > server_busy, "foreign": others / wall / 2}


def at_half_load(args, build, running):
    """p99 at the shape's `half` requests a second, from the same running server; None where that tells nothing.
    The median of those of tenths of a second: one pause of the machine would decide that of a whole one."""
    shape = running.shape
    if not shape.half:
        return None
    try:
        report = run_load(args, hload_command(build, shape, running.port, HALF_S, shape.half, 0.2))
    except (lib.Bad, lib.Unavailable) as why:
        say(f"  {running.server.name} at half load: {why}")
        return None
    if report["errs"] or report["non200"] or not report["n"]:
        return None
    return max(report["p99_slices"], STUCK_US if report["stuck"] else 0)


def measure(args, build, server, shape, cpus, half):
    """One server, one shape, once; then, if asked for, at half load. The result's "void" says why it does not count, if it does not."""
    try:
        with lib.Running(server, shape, cpus) as running:
            warm_up(args, build, running)
            result = timed(args, build, running)
            if half and not result["void"] and not rate_of(args, shape):
                result["half_p99_us"] = at_half_load(args, build, running)
            return result
    except (lib.Bad, lib.Unavailable) as why:
        return {"void": str(why)}


# ---- rounds ---------------------------------------------------------------------------------------------------

def checked(args, servers, shape, cpus=None):
    """The servers whose replies are right, with what the check saw of each."""
    good = {}
    for server in servers:
        if not server.fits(shape):
            continue
        try:
            with lib.Running(server, shape, args.server_cpu if cpus is None else cpus) as running:
                reply_bytes, options = lib.check(running)
                good[server.name] = {"server": server, "bytes": reply_bytes, "options": options}
        except (lib.Bad, lib.Unavailable) as why:
            say(f"  {server.name} takes no part in {shape.name}: {why}")
    return good


def run_round(args, build, entries, number, spared=""):
    """Each of (server, shape, CPUs) once, and at half load unless it is of the spared kind; the order turns from round to round."""
    first = number % max(1, len(entries))
    results = {}
    for server, shape, cpus in entries[first:] + entries[:first]:
        result = results[server.name] = measure(args, build, server, shape, cpus, server.kind != spared)
        if result["void"]:
            say(f"  round {number + 1} of {server.name} is void: {result['void']}")
    return results


def run_rounds(args, build, entries):
    return [run_round(args, build, entries, number) for number in range(args.rounds)]


def run_more_rounds(args, build, entries):
    """Floors have no bar of p99 at half load: they are spared it."""
    return [run_round(args, build, entries, number, "floor") for number in range(args.more)] if entries else []
