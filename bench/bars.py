"""The bars that Chopin has set itself, and whether this run met them."""
import benchlib as lib
from report import median, times, whole

# Reference marks: CPU time a request of servers that Debian does not package, divided by the epoll floor beside which
# they were measured, on another machine (two-core Zen 3 VM, Linux 6.18, one worker). That floor's "close" had
# TCP_DEFER_ACCEPT. None: not measured, or it stalled. Only the ratios mean something here.
MARK_SHAPES = ("plain1", "plain64", "plain512", "plain1024", "pipelined16", "json256", "close", "headers2k", "echo64k")
MARK_FLOOR = (14.1, 6.6, 6.8, 8.4, 0.47, 6.9, 19.7, 8.0, 27.7)
MARKS = {
    "libreactor":   (14.6, 6.9, 7.8, 9.2, 0.54, 7.1, 26.5, 7.8, None),
    "lwan":         (15.2, 7.0, 7.9, 9.4, None, 7.2, 30.6, 7.4, 44.9),
    "may_minihttp": (13.4, 8.9, 8.3, 11.5, 0.64, 8.2, 115, 8.8, 37.9),
    "uWebSockets":  (14.8, 7.5, 8.3, 9.2, 1.08, 7.7, 30.6, 8.1, 27.0),
    "hyper":        (14.6, 7.4, 8.3, 10.1, 1.07, 8.2, 31.6, 8.9, 29.9),
    "lithium":      (18.4, 8.7, 9.6, 12.1, 0.75, 8.0, 79.0, 10.8, None),
    "Chopin 0.5":   (16.5, 7.4, 7.9, 9.2, 1.00, 7.6, 24.4, 8.3, None),
}
URING_SLACK = 1.05
CACHED_FILE = 1.3                                   # 1 KiB by the cache of descriptors, in times our own plaintext
INSTRUCTION_BARS = {"plain64": 1000, "pipelined16": 600}
CLOSE_CALLS = 5                                     # a connection, the wait that many share not counted
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "io_uring_enter")
IDLE_BYTES, START_KIB = 256, 3 * 1024


def bar(where, what, limit, value, form=times, over=False):
    """over: the value has to reach the limit, not to stay below."""
    met = None if value is None else value >= limit if over else value <= limit
    verdict = {None: "not measured", True: "met", False: "**missed**"}[met]
    return {"where": where, "what": what, "asked": f"{'>=' if over else '<='} {form(limit)}",
            "measured": form(value) if value is not None else "-", "value": value, "verdict": verdict}


# ---- of one shape ---------------------------------------------------------------------------------------------

def floor_bars(result):
    """Ours against the floor of the same backend."""
    shape, asked = result.shape, [("cpu_us", "CPU", result.shape.bar), ("p99_us", "p99", result.shape.p99_bar),
                                  ("p999_us", "p99.9", result.shape.p999_bar)]
    return [bar(shape.name, f"{name}, {what} / {result.floor(name)}", limit, result.ratio(name, result.floor(name), key))
            for name in result.of_kind("ours") for key, what, limit in asked if limit]


def uring_excess(results, ours, floors):
    """(uring / epoll of ours) / (uring / epoll of the floors) in one round; None when one of them is void."""
    costs = [None if n not in results or results[n]["void"] else results[n]["cpu_us"] for n in (*ours, *floors)]
    if not all(costs):
        return None
    floor = costs[2] / costs[3] if floors else 1
    return costs[0] / costs[1] / floor


def uring_bar(result):
    """Our io_uring may cost what the floors make of it, and little more. Files have their own bars, WebSocket has no floor."""
    if result.shape.kind in ("file", "ws"):
        return []
    shape, name = result.shape, "kitchen_sink" if result.shape.body else "tfb"
    floors = () if shape.body else ("floor_uring", "floor_epoll")
    found = [uring_excess(r, (f"{name}_uring", name), floors) for r in result.rounds]
    what = f"{name}_uring / {name}" + (", / (floor_uring / floor_epoll)" if floors else "")
    return [bar(shape.name, what, URING_SLACK, median([f for f in found if f]))]


def ours_by_defer(result, key="cpu_us"):
    """The better of ours without TCP_DEFER_ACCEPT and, where connections are short, the better of ours with it."""
    names = result.of_kind("ours", key)
    best = {defers: next((n for n in names if result.defers(n) == defers), None) for defers in (False, True)}
    return {defers: name for defers, name in best.items() if name}


def peer_bars(result, key, what):
    """The best Debian peer that does not stall in times the better of ours; where connections are short, among equal socket options."""
    alike = ours_by_defer(result, key) if result.shape.close else {}
    first = next(iter(result.of_kind("ours", key)), None)
    pairs = [(best, alike.get(result.defers(best)) if result.shape.close else first) for best in result.best_debian(key)]
    return [bar(result.shape.name, f"{what}, {best} / {mine}", 1, result.ratio(best, mine, key), over=True) for best, mine in pairs if mine]


def named_bars(result):
    """Bars between two servers by name: files against our own plaintext and nginx, WebSocket against each library."""
    name = result.shape.name
    if name == "file1k":
        return [bar(name, f"CPU, {mine} / {plain}", CACHED_FILE, result.ratio(mine, plain))
                for mine, plain in ((f"tuned_files_cached{s}", f"tfb{s} plain64") for s in ("", "_uring"))]
    if name == "file1m":
        return [bar(name, f"CPU, nginx / {mine}", 1, result.ratio("nginx", mine), over=True) for mine in ("tuned_files", "tuned_files_uring")]
    mine = next(iter(result.of_kind("ours")), "")             # the better of the backends: ruling 27
    return [bar(name, f"CPU, {peer} / {mine}", 1, result.ratio(peer, mine), over=True) for peer in lib.PEERS_FOR["ws"]] if name == "ws256" and mine else []


def mark_bars(result):
    """The better of ours in times the epoll floor, against the marks."""
    shape = result.shape
    if shape.name not in MARK_SHAPES:
        return []
    at = MARK_SHAPES.index(shape.name)
    floor = "floor_epoll_defer" if shape.close else "floor_epoll"
    tie = 1.05 if shape.connections == 1 or shape.body else 1    # there the kernel is nearly all of it: within 5 % is a tie
    return [bar(shape.name, f"CPU, {mine} / {floor}, below {name}", tie * marks[at] / MARK_FLOOR[at], result.ratio(mine, floor))
            for mine in ours_by_defer(result).values() for name, marks in MARKS.items() if marks[at]]


def of_shape(result):
    peers = peer_bars(result, "cpu_us", "CPU") + peer_bars(result, "half_p99_us", "p99 at half load")
    found = floor_bars(result) + uring_bar(result) + peers + named_bars(result) + mark_bars(result)
    return list({row["what"]: row for row in found}.values())    # nginx may be both the best peer and named


# ---- of counts and memory -------------------------------------------------------------------------------------

def of_instructions(found):
    return [bar(shape, f"{name}, user instructions a request", limit, found[name].get(shape), whole)
            for name in ("tfb", "tfb_uring") if name in found for shape, limit in INSTRUCTION_BARS.items()]


def of_syscalls(found):
    """found: shape, server, call by name."""
    rows = []
    for name in ("tfb", "tfb_uring"):
        rates = found.get("close", {}).get(name)
        value = sum(rate for call, rate in rates.items() if call not in WAITS) if rates else None
        rows.append(bar("close", f"{name}, calls a connection beside the shared wait", CLOSE_CALLS, value))
    return rows


def of_memory(found):
    rows = []
    for name in ("tfb", "tfb_uring"):
        each, start = (found[name]["each"], found[name]["start_kib"]) if found.get(name) else (None, None)
        rows.append(bar("idle", f"{name}, bytes of an idle connection", IDLE_BYTES, each, whole))
        rows.append(bar("start", f"{name}, KiB resident at start", START_KIB, start, whole))
    return rows


def section(rows):
    met = sum(row["verdict"] == "met" for row in rows)
    measured = sum(row["verdict"] != "not measured" for row in rows)
    lines = [[row["where"], row["what"], row["asked"], row["measured"], row["verdict"]] for row in rows]
    return (f"## Bars\n\n{met} of {measured} met. Ratios are medians of the ratios within rounds.\n\n"
            + lib.markdown(["where", "what", "asked", "measured", "verdict"], lines, 2) + "\n")
