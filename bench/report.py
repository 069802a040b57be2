"""What the rounds of a shape say: medians, ratios within rounds, and the table of run.py's report."""
import statistics
from dataclasses import dataclass

import benchlib as lib


@dataclass
class Result:
    """One shape: the servers that took part, with what the check saw of each, and their rounds."""
    shape: lib.Shape
    good: dict
    rounds: list
    load: str = ""        # the generator's command line

    def values(self, name, key):
        """Of the rounds that counted."""
        found = [r[name].get(key) for r in self.rounds if name in r and not r[name]["void"]]
        return [v for v in found if v is not None]

    def median(self, name, key):
        return median(self.values(name, key))

    def ratio(self, name, other, key="cpu_us"):
        """Median of the ratios within each round, so that a slow minute of the machine hits both."""
        pairs = [self.pair(r, name, other, key) for r in self.rounds]
        return median([mine / theirs for mine, theirs in pairs if mine is not None and theirs])

    @staticmethod
    def pair(results, *names_and_key):
        *names, key = names_and_key
        return [None if name not in results or results[name]["void"] else results[name].get(key) for name in names]

    def of_kind(self, kind, key="cpu_us"):
        """Names of that kind with a figure, the smallest first."""
        names = [n for n in self.good if self.good[n]["server"].kind == kind and self.values(n, key)]
        return sorted(names, key=lambda n: self.median(n, key))

    def steady(self, name, key):
        """Has most of its rounds a figure? Who stalls in the others is not the one to compare with."""
        return 2 * len(self.values(name, key)) > self.ran(name)

    def ran(self, name):
        return sum(name in r for r in self.rounds)

    def best_debian(self, key):
        """The steady Debian peers with the least of it, of those that ran most often: one without TCP_DEFER_ACCEPT and one
        with it, where connections are short; else one."""
        peers = [n for n in self.of_kind("peer", key) if n in lib.DEBIAN_PEERS and self.steady(n, key)]
        alike = [[n for n in peers if self.defers(n) == defers] for defers in (False, True)] if self.shape.close else [peers]
        return [next(n for n in group if self.ran(n) == max(map(self.ran, group))) for group in alike if group]

    def best_peer(self):
        return next((n for n in self.of_kind("peer") if self.steady(n, "cpu_us")), None)

    def defers(self, name):
        return bool(self.good[name]["options"].get("defer_accept"))

    def deferred(self, name, floor):
        """The variant of a floor that has the same TCP_DEFER_ACCEPT as a server."""
        return f"{floor}_defer" if self.defers(name) and f"{floor}_defer" in self.good else floor

    def epoll_floor(self, name):
        return self.deferred(name, "floor_epoll")

    def floor(self, name):
        """The floor of the same backend; floor_uring echoes nothing and files go by sendfile, so there the epoll floor counts
        for all."""
        uring = self.good[name]["options"].get("backend") == "uring" and self.shape.kind == "plain"
        return self.deferred(name, "floor_uring" if uring else "floor_epoll")


def median(numbers):
    return statistics.median(numbers) if numbers else None


# ---- one cell of a table --------------------------------------------------------------------------------------

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


def whole(number):
    return f"{number:,.0f}"


def throughput(result, name):
    """With a mark where the generator was the limit: the server could have done more."""
    limited = result.median(name, "limited")
    return ("> " if limited else "") + spread(result.values(name, "rps"), whole)


# ---- the section of one shape ---------------------------------------------------------------------------------

HEAD = ["server", "CPU us/request", "/ floor", "/ epoll floor", "/ best peer", "requests/s", "p99 us", "p99.9 us",
        "p99 us at half load", "server CPU", "load CPU", "reply bytes", "defer accept", "rounds"]


def row(result, name):
    deferred = result.good[name]["options"].get("defer_accept")
    latencies = [spread(result.values(name, key), whole) for key in ("p99_us", "p999_us", "half_p99_us")]
    return [name, spread(result.values(name, "cpu_us"), micro), times(result.ratio(name, result.floor(name))),
            times(result.ratio(name, result.epoll_floor(name))), times(result.ratio(name, result.best_peer())),
            throughput(result, name), *latencies, percent(result.values(name, "server_busy")),
            percent(result.values(name, "load_busy")), str(result.good[name]["bytes"]),
            {None: "?", 0: "no"}.get(deferred, "yes"), f"{len(result.values(name, 'n'))}/{sum(name in r for r in result.rounds)}"]


def by_cost(result):
    return sorted(result.good, key=lambda n: result.median(n, "cpu_us") or float("inf"))


def foreign(rounds):
    """The largest share of the two CPUs that other programs took in a round."""
    return max((r[n]["foreign"] for r in rounds for n in r if not r[n]["void"]), default=0)


def disturbed(rounds):
    share = foreign(rounds)
    return f"**Disturbed**: other programs took up to {share * 100:.0f} % of the two CPUs in a round." if share > 0.05 else ""


def section(result, picture):
    shape, best = result.shape, result.best_peer()
    half = f" Half load: {shape.half:,.0f} requests/s." if shape.half else ""
    parts = [f"## {shape.name}: {shape.title}", f"`{result.load}`.{half}",
             f"![CPU time a request, {shape.name}]({picture})" if picture else "",
             lib.markdown(HEAD, [row(result, n) for n in by_cost(result)]),
             f"Best peer: {best}." if best else "", disturbed(result.rounds)]
    return "\n\n".join(part for part in parts if part) + "\n"
