"""What a mass outage does to the healthy sites."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError, Figure, percentile
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab
from tests.bench.proc import tree
from tests.bench.scrape import Scrape
from tests.system.processes import Daemon, Nginx

_HEALTHY = 0.1  # of all sites
_TIMEOUT = 1 / 6  # of the interval
_MOMENT: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class _Check:
    """A check that was due, and how late it started."""

    due: Timestamp
    lag: Seconds


def healthy_sites(lab: Lab) -> Iterator[Figure]:
    """Make nine of ten sites accept nothing from one moment on, and measure the others."""
    interval = lab.effort.many_interval
    well = max(1, int(lab.effort.sites * _HEALTHY))
    victim = lab.new_nginx()
    options = f"timeout: {max(1, round(interval * _TIMEOUT))}s"
    healthy, hanging = (
        Fleet(count=count, url=url, interval=interval, options=options, prefix=prefix)
        for prefix, count, url in (
            ("healthy", well, lab.url),
            ("hanging", lab.effort.sites - well, f"http://127.0.0.1:{victim.port}/"),
        )
    )
    with lab.daemon(healthy, hanging) as daemon:
        lab.until_all_checked(daemon, healthy, hanging)
        with _stopped(victim):
            began = time.time()
            time.sleep(lab.effort.outage)
            ended = time.time() - _MOMENT
            scrape = Scrape(daemon.url)
            checks, skipped = _history(daemon, healthy)
    # Only once the first check of each has timed out is it known which sites hang
    known = min(began + interval, ended)
    yield from _phase("first round", healthy, checks, began, known)
    yield from _phase("afterwards", healthy, checks, known, ended)
    threads = scrape.by_label("monitor_probe_threads")
    yield Figure(
        name="threads in use",
        value=sum(threads.values()) - threads["idle"],
        unit="",
        detail=f"threads {_listed(threads)}; checks that wait"
        f" {_listed(scrape.by_label('monitor_checks_waiting'))};"
        f" skipped of those that are well {_listed(skipped)}",
    )


def _phase(
    name: str, fleet: Fleet, checks: Iterable[_Check], begin: Timestamp, end: Timestamp
) -> Iterator[Figure]:
    """Yield how punctual the checks were that were due in a period."""
    lags = [check.lag for check in checks if begin <= check.due < end]
    if lags:
        yield Figure(
            name=f"lag p99, {name}",
            value=percentile(lags, 0.99) * 1000,
            unit="ms",
            detail=f"of {len(lags)} checks; the latest {max(lags) * 1000:,.0f} ms",
            samples={"seconds": lags},
        )
    due = fleet.due_between(begin, end)
    yield Figure(
        name=f"not checked, {name}", value=due - len(lags), unit="", detail=f"of {due} slots"
    )


def _listed(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}" for name, count in counts.items()) or "none"


@contextmanager
def _stopped(server: Nginx) -> Iterator[None]:
    """
    Stop a server's processes: its socket still listens, but nothing accepts connections.

    Raises:
        BenchError: The server still answers.
    """
    pids = tree(server.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        _require_silence(server)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _require_silence(server: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=_MOMENT) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        try:
            answer = client.recv(1)
        except TimeoutError:
            return
    raise BenchError(f"a stopped server answered {answer!r}")


def _history(daemon: Daemon, fleet: Fleet) -> tuple[list[_Check], Mapping[str, int]]:
    """Return the checks of each site in the history, and the number of skipped ones by cause."""
    checks = []
    skipped: Counter[str] = Counter()
    connection = HTTPConnection(daemon.url.removeprefix("http://"), timeout=60)
    for name in fleet.names:
        connection.request("GET", f"/api/v1/sites/{name}")
        detail = json.loads(connection.getresponse().read())
        skipped.update(detail["checks_skipped"])
        for one in detail["recent"]:
            started = datetime.fromisoformat(one["time"]).timestamp()
            lag = fleet.lag(name, started)
            checks.append(_Check(started - lag, lag))
    connection.close()
    return checks, skipped
