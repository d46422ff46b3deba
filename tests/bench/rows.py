"""The rows of the benchmark: what each measures, and the goals of its figures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.bench import (
    apart,
    calls,
    cost,
    load,
    midnight,
    outage,
    pages,
    remembering,
    size,
    telling,
    truth,
)
from tests.bench.blackbox import PROGRAM as BLACKBOX
from tests.bench.figures import Figure, Goal
from tests.bench.lab import Lab


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One row of the table.

    Attributes:
        needs: Programs that must be installed, or the row is skipped.
        goals: The goals by the name of the figure.
    """

    name: str
    what: str
    needs: tuple[str, ...] = ()
    goals: Mapping[str, Goal]
    measure: Callable[[Lab], Iterator[Figure]]


ROWS = (
    Row(
        name="cpu_http",
        what="CPU time of a check over HTTP, all processes, beside blackbox_exporter's, bare"
        " libcurl's and the least in Python threads at the same rate, and the build's that --peer"
        " names",
        needs=("nginx", BLACKBOX),
        goals={"100/s": Goal("at most", 0.5), "400/s": Goal("at most", 0.5)},
        measure=cost.http,
    ),
    Row(
        name="cpu_https",
        what="the same over HTTPS: full handshake, verified with 140 roots, expiry exported",
        needs=("nginx", BLACKBOX),
        goals={
            "100/s": Goal("at most", 1),
            "300/s": Goal("at most", 1),
            "300/s, beside bare libcurl": Goal("at most", 1.1),
            "100/s, its ca_file": Goal("at most", 0.75),
        },
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
        name="truth_https",
        what="how far the phases of 300 checks/s over HTTPS are from what the server's side saw of"
        " them, while 10,000 sites are scraped every 5 s; the answer takes 50 ms",
        needs=("nginx", "cc"),
        goals={"tls p99": Goal("under", 1), "processing p99": Goal("under", 1)},
        measure=truth.phases_over_tls,
    ),
    Row(
        name="lag",
        what="start of a check behind its slot, 10,000 sites every 60 s, by the daemon's histogram",
        needs=("nginx",),
        goals={"p99": Goal("under", 10)},
        measure=load.punctuality,
    ),
    Row(
        name="max_rate",
        what="most checks per second with lag p99 under 100 ms and nothing skipped, nginx included",
        needs=("nginx",),
        goals={"sustained": Goal("at least", 1700)},
        measure=load.most_checks,
    ),
    Row(
        name="memory",
        what="what all processes hold once every site was checked",
        needs=("nginx",),
        goals={
            "1,000 sites": Goal("under", 120),
            "10,000 sites": Goal("under", 250),
            "100,000 sites": Goal("under", 1200),
        },
        measure=size.resident,
    ),
    Row(
        name="memory_https",
        what="the same over HTTPS, verified with 140 roots: while checks wait, at 300 checks/s, and"
        " with 1,000 sites of which half are HTTPS",
        needs=("nginx",),
        goals={
            "a waiting check": Goal("at most", 0.15),
            "1,000 sites, half HTTPS, no history": Goal("at most", 85),
            "1,000 sites, half HTTPS": Goal("at most", 100),  # and what history_memory allows
        },
        measure=size.resident_https,
    ),
    Row(
        name="scrape",
        what="a scrape of 10,000 sites; what it adds to durations stands in the row truth",
        needs=("nginx",),
        goals={"plain": Goal("under", 100), "gzip": Goal("under", 250)},
        measure=size.scrapes,
    ),
    Row(
        name="start",
        what="from the start to ready with 10,000 sites; the smallest command, beside bare Python",
        needs=("nginx",),
        goals={"ready": Goal("under", 3000), "monitor --version": Goal("under", 250)},
        measure=size.starts,
    ),
    Row(
        name="reload",
        what="one of 10,000 sites changed: from the write to in force, and what is held up by it",
        needs=("nginx",),
        goals={"applied": Goal("under", 3000), "longest pause": Goal("under", 20)},
        measure=size.reloads,
    ),
    Row(
        name="discovery",
        what="ten of 10,000 sites that a file in Prometheus' form lists changed: from the write to"
        " in force, and what is held up by it",
        needs=("nginx",),
        goals={"applied": Goal("under", 1000), "longest pause": Goal("under", 20)},
        measure=size.discoveries,
    ),
    Row(
        name="outage",
        what="9,000 of 10,000 sites accept nothing from one moment on: the 1,000 that are well",
        needs=("nginx",),
        goals={
            "lag p99, first round": Goal("under", 100),
            "lag p99, afterwards": Goal("under", 100),
            "not checked, first round": Goal("at most", 0),
            "not checked, afterwards": Goal("at most", 0),
        },
        measure=outage.healthy_sites,
    ),
    Row(
        name="history_cpu",
        what="CPU time of a check over HTTP with a history, beside a build or a daemon without one",
        needs=("nginx",),
        goals={"400/s": Goal("at most", 1.06)},
        measure=remembering.cpu,
    ),
    Row(
        name="history_memory",
        what="what all processes hold more with a history",
        needs=("nginx",),
        goals={"1,000 sites": Goal("at most", 15), "10,000 sites": Goal("at most", 20)},
        measure=remembering.resident,
    ),
    Row(
        name="history_start",
        what="how much longer a start takes until ready that reads the state of 10,000 sites back",
        needs=("nginx",),
        goals={"10,000 sites": Goal("at most", 500)},
        measure=remembering.starts,
    ),
    Row(
        name="history_slow_disk",
        what="10,000 sites every 60 s while each write of the history takes 20 ms",
        needs=("nginx", "cc"),
        goals={
            "not checked": Goal("at most", 0),
            "dropped": Goal("at most", 0),
            "write errors": Goal("at most", 0),
        },
        measure=remembering.slow_disk,
    ),
    Row(
        name="history_upkeep",
        what="400 checks/s of 10,000 sites while their history is rolled up, summed up, trimmed and"
        " vacuumed, beside a build or a daemon without one",
        needs=("cc",),
        goals={"lag p99": Goal("at most", 1.1), "truth p99": Goal("at most", 1.1)},
        measure=midnight.upkeep,
    ),
    Row(
        name="pages",
        what="pages of 5,000 sites with a year's past, none of them made before, at 80 checks/s",
        needs=("nginx",),
        goals={
            "/ of 5,000 sites": Goal("under", 150),
            "/sites/NAME": Goal("under", 60),
            "/status of 500 sites": Goal("under", 60),
            "uptime of 5,000 sites over 365 d": Goal("under", 250),
        },
        measure=pages.cold,
    ),
    Row(
        name="calls",
        what="calls of jobs that report themselves, a connection each; every one becomes a check",
        goals={"CPU a call": Goal("at most", 1)},
        measure=calls.taken_in,
    ),
    Row(
        name="messages",
        what="10,000 sites go down within a minute; of four receivers one answers after 10 s, one"
        " hangs and one refuses",
        needs=("nginx",),
        goals={
            "told after group_wait": Goal("under", 60),
            "lag p99": Goal("at most", 1.05),
            "memory": Goal("at most", 20),
        },
        measure=telling.outage,
    ),
    Row(
        name="verdict",
        what="down everywhere, seen by three places: from the outage to the verdict, beside what"
        " one place needs, mean",
        needs=("nats-server", "nginx"),
        goals={"simulated, 60 s": Goal("at most", 0.4), "real, 10 s": Goal("at most", 0.4)},
        measure=apart.verdicts,
    ),
    Row(
        name="place_cpu",
        what="CPU time of a check at a place, all processes, beside a daemon without --location",
        needs=("nats-server", "nginx"),
        goals={"400/s": Goal("at most", 1.08)},
        measure=apart.place_cpu,
    ),
)
