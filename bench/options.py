"""What each option of chopin_options that tunes a listener or a backend costs or saves, on both backends."""
import contextlib
import dataclasses
import os
from pathlib import Path

import benchlib as lib
import measure
from benchlib import say
from report import Result, disturbed, micro, spread, times, whole

KEEP, CLOSE, FILE = lib.SHAPES["plain64"], lib.SHAPES["close"], lib.SHAPES["file1m"]
FAST_OPEN = dataclasses.replace(CLOSE, title=CLOSE.title + ", TCP fast open by the generator", fast_open=True)
TWO = ("workers=2", "pin_workers=1")
BOTH = ("epoll", "uring")
SYSCTL = Path("/proc/sys/net/ipv4/tcp_fastopen")

# Groups measured in the same rounds: words of the server without the option, then (option, backends, shape). Without
# the option a client gets no cookie, so the server to compare fast_open with is the plain one in the plain shape.
GROUPS = (
    (KEEP, (), (("sqpoll=1", ("uring",), KEEP), ("busy_poll_us=50", BOTH, KEEP))),
    (CLOSE, (), (("defer_accept=1", BOTH, CLOSE), ("fast_open=256", BOTH, FAST_OPEN))),
    (KEEP, TWO, (("steer_by_cpu=1", BOTH, KEEP),)),
    (FILE, (), (("congestion=bbr", BOTH, FILE),)),
)
HEAD = ["option", "backend", "shape", "CPU us/request", "/ without", "p99 us at half load", "/ without", "rounds"]


@contextlib.contextmanager
def fast_open_allowed():
    """Both sides of TCP fast open for a with block, where we may; the machine's setting comes back."""
    before = SYSCTL.read_text()
    with contextlib.suppress(OSError):
        if os.geteuid() == 0:
            SYSCTL.write_text("3")
    try:
        yield int(SYSCTL.read_text()) & 3 == 3
    finally:
        with contextlib.suppress(OSError):
            SYSCTL.write_text(before)


def cpus_of(args, words):
    """Two workers need two CPUs; the generator then shares one of them."""
    return f"{args.server_cpu},{args.load_cpu}" if words == TWO else args.server_cpu


def server_of(build, shape, backend, name, *words):
    return lib.tuned_files(build, backend, name, *words) if shape.file else lib.tuned(build, name, backend, *words)


def entries_of(args, build, group):
    """What run_rounds wants, and for each server the name of the one without the option."""
    shape, words, options = group
    plain = {backend: server_of(build, shape, backend, f"{backend} without", *words) for backend in BOTH}
    found, without = [(server, shape) for server in plain.values()], {}
    for option, backends, asked in options:
        for backend in backends:
            server = server_of(build, asked, backend, f"{backend} {option}", *words, option)
            without[server.name] = plain[backend].name
            found.append((server, asked))
    cpus = cpus_of(args, words)
    usable = [(s, asked, cpus) for s, asked in found if measure.checked(args, [s], asked, cpus)]
    return usable, without


def row(result, server, shape, words, other):
    name = server.name
    backend, option = name.split(" ", 1)
    label = " ".join([option, *words])
    return [label, backend, shape.name, spread(result.values(name, "cpu_us"), micro), times(result.ratio(name, other)),
            spread(result.values(name, "half_p99_us"), whole), times(result.ratio(name, other, "half_p99_us")),
            f"{len(result.values(name, 'n'))}/{len(result.rounds)}"]


def bench_group(args, build, group):
    """Rows of one group's table, its rounds, and what disturbed them."""
    say(f"options: {', '.join(option for option, _, _ in group[2])}")
    entries, without = entries_of(args, build, group)
    result = Result(group[0], {}, measure.run_rounds(args, build, entries))
    rows = [row(result, server, shape, group[1], without.get(server.name)) for server, shape, _ in entries]
    return rows, result.rounds


def section(args, build):
    """The section of the report, and the rounds behind it. Always by hload, which opens fast."""
    args = type(args)(**dict(vars(args), load="hload", rate=0))
    with fast_open_allowed() as allowed:
        found = [bench_group(args, build, group) for group in GROUPS]
    rows = [row for rows, _ in found for row in rows]
    rounds = [r for _, rounds in found for r in rounds]
    notes = ["Each option is off by default; on loopback congestion is the system's, but \"reno\" where that is BBR. \"/ without\" is the median of the ratios to the same server without the option, "
             "on the same backend, in the same rounds.",
             "" if any("congestion=bbr" in row[0] for row in rows) else "**congestion=bbr had no chance**: no BBR here, or not for us.",
             "" if allowed else "**fast_open had no chance**: the sysctl net.ipv4.tcp_fastopen is not 3.", disturbed(rounds)]
    text = "## Options\n\n" + "\n\n".join([notes[0], lib.markdown(HEAD, rows, 3), *filter(None, notes[1:])]) + "\n"
    return text, rounds
