"""The rows of the benchmark: what is measured, and what it is to reach."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.bench import cost, load, truth
from tests.bench.blackbox import PROGRAM as BLACKBOX
from tests.bench.figures import Figure, Goal
from tests.bench.lab import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One row of the table.

    Attributes:
        needs: Programs without which it is skipped.
        goals: By figure.
    """

    name: str
    what: str
    needs: tuple[str, ...] = ()
    goals: Mapping[str, Goal]
    measure: Callable[[Lab], Iterator[Figure]]


ROWS = (
    Row(
        name="cpu_http",
        what="CPU time of a check over HTTP, all processes, beside blackbox_exporter's",
        needs=("nginx", BLACKBOX),
        goals={"100/s": Goal("at most", 0.5), "400/s": Goal("at most", 0.5)},
        measure=cost.http,
    ),
    Row(
        name="cpu_https",
        what="the same over HTTPS: full handshake, verified with 140 roots, expiry exported",
        needs=("nginx", BLACKBOX),
        goals={"100/s": Goal("at most", 0.75)},
        measure=cost.https,
    ),
    Row(
        name="truth",
        what="reported duration beyond a server's exact 50 ms at 400 checks/s; ours while 10,000"
        " sites are scraped every 5 s, blackbox_exporter's without",
        needs=("cc", BLACKBOX),
        goals={
            "p50": Goal("at most", 0.5),
            "p99": Goal("at most", 0.4),
            "p99 added by a scrape": Goal("at most", 1),
        },
        measure=truth.durations,
    ),
    Row(
        name="max_rate",
        what="most checks per second with lag p99 under 100 ms and nothing skipped, nginx included",
        needs=("nginx",),
        goals={"sustained": Goal("at least", 1700)},
        measure=load.most_checks,
    ),
)
