"""What the history costs a daemon, compared with another build or one without a history."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from monitor.model import Seconds
from tests.bench.figures import Figure, ratio
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab, program
from tests.bench.proc import cpu_time, memory, tree
from tests.bench.scrape import Scrape
from tests.system.processes import Daemon
from tests.waiting import until

_MB = 1_000_000


def cpu(lab: Lab) -> Iterator[Figure]:
    """
    Measure the processor time of both at the same moments, so that other load affects both equally.

    The window begins once results are packed as they are in the hours after.
    """
    rate = lab.effort.true_rate
    fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
    with lab.daemon(fleet) as ours, lab.peer(fleet) as peer:
        lab.until_all_checked(ours, fleet)
        lab.until_all_checked(peer, fleet)
        time.sleep(lab.effort.remembered)
        mine: list[Seconds] = []
        others: list[Seconds] = []
        for _ in range(lab.effort.rounds):
            before = [spent(daemon) for daemon in (ours, peer)]
            time.sleep(lab.effort.window)
            after = [spent(daemon) for daemon in (ours, peer)]
            for costs, (used, checks), (used_then, checks_then) in zip(
                (mine, others), before, after, strict=True
            ):
                costs.append((used_then - used) / max(1, checks_then - checks))
        _require_history(ours)
    yield ratio(f"{rate}/s", mine, others, lab.other_build.name if lab.other_build else "without")


def resident(lab: Lab) -> Iterator[Figure]:
    """Measure what both hold once every site has been checked."""
    for count in lab.effort.fleets[:2]:
        fleet = Fleet(
            count=count,
            url=lab.url,
            interval=max(lab.effort.interval, count // lab.effort.true_rate),
        )
        held = []
        for start in (lab.daemon, lab.peer):
            with start(fleet) as daemon:
                lab.until_all_checked(daemon, fleet)
                held.append(memory(tree(daemon.process.pid)).size / _MB)
        yield Figure(
            name=f"{count:,} sites",
            value=held[0] - held[1],
            unit="MB",
            detail=f"{held[0]:.1f} MB instead of {held[1]:.1f}",
        )


def starts(lab: Lab) -> Iterator[Figure]:
    """Measure starts with many sites until their states are read back and they are ready."""
    fleet = Fleet(count=lab.effort.sites, url=lab.url, interval=lab.effort.many_interval)
    data = str(lab.new_folder())
    with lab.daemon(fleet, MONITOR_DATA=data) as daemon:
        lab.until_all_checked(daemon, fleet)
        daemon.stop()
    mine, others = [], []
    for _ in range(lab.effort.rounds):
        mine.append(_took(lambda: lab.daemon(fleet, MONITOR_DATA=data)))
        others.append(_took(lambda: lab.peer(fleet)))
    added = [one - other for one, other in zip(mine, others, strict=True)]
    yield Figure(
        name=f"{fleet.count:,} sites",
        value=1000 * sorted(added)[len(added) // 2],
        unit="ms",
        detail=f"{min(mine):.2f} to {max(mine):.2f} s, peer {min(others):.2f} to {max(others):.2f}",
        samples={"ours_seconds": mine, "peer_seconds": others},
    )


def slow_disk(lab: Lab) -> Iterator[Figure]:
    """Measure what is lost if each write of the history takes 20 ms (see slow.c)."""
    library = lab.new_folder() / "slow.so"
    source = Path(__file__).with_name("slow.c")
    subprocess.run(
        [program("cc"), "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
    )
    fleet = Fleet(count=lab.effort.sites, url=lab.url, interval=lab.effort.many_interval)
    with lab.daemon(fleet, LD_PRELOAD=str(library)) as daemon:
        lab.until_all_checked(daemon, fleet)
        time.sleep(lab.effort.slow)
        scrape = Scrape(daemon.url)
        _require_history(daemon)
    took = scrape.total("monitor_history_seconds_sum") / scrape.total(
        "monitor_history_seconds_count"
    )
    minutes = f"in {lab.effort.slow / 60:.0f} min; a transaction took {took:.2f} s"
    for name, series in (
        ("not checked", "monitor_checks_skipped_total"),
        ("dropped", "monitor_history_results_dropped_total"),
        ("write errors", "monitor_history_write_errors_total"),
    ):
        yield Figure(name=name, value=scrape.total(series), unit="", detail=minutes)


def _took(start: Callable[[], AbstractContextManager[Daemon]]) -> Seconds:
    began = time.monotonic()
    with start():
        return time.monotonic() - began


def spent(daemon: Daemon) -> tuple[Seconds, float]:
    """Return a daemon's processor time and the number of checks it has made."""
    checks = Scrape(daemon.url).total("monitor_checks_total")
    return cpu_time(tree(daemon.process.pid)), checks


def _require_history(daemon: Daemon) -> None:
    series = "monitor_history_rows_written_total"
    until(lambda: Scrape(daemon.url).total(series) > 0, "the first row of the history")
