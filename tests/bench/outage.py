"""What a mass outage does to the sites that are well."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError, Figure, milliseconds, percentile
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
    """One that was due, and how late it started."""

    due: Timestamp
    lag: Seconds


def healthy_sites(lab: Lab) -> Iterator[Figure]:
    """Let nine of ten sites accept nothing from one moment on, and look at the others."""
    interval = lab.effort.many_interval
    options = f"timeout: {max(1, round(interval * _TIMEOUT))}s"
    well = max(1, int(lab.effort.sites * _HEALTHY))
    victim = lab.new_nginx()
    place = f"http://127.0.0.1:{victim.port}/"
    healthy = Fleet(count=well, url=lab.url, interval=interval, options=options, prefix="healthy")
    hanging = Fleet(
        count=lab.effort.sites - well,
        url=place,
        interval=interval,
        options=options,
        prefix="hanging",
    )
    with lab.daemon(healthy, hanging) as daemon:
        lab.until_all_checked(daemon, healthy, hanging)
        with _stopped(victim):
            began = time.time()
            time.sleep(lab.effort.outage)
            ended = time.time() - _MOMENT
            waiting = Scrape(daemon.url).value('monitor_probe_threads{state="busy"}')
            checks, skipped = _history(daemon, healthy)
    checks = [check for check in checks if began <= check.due < ended]
    # A site that hangs is known as such once its first check of the outage has timed out
    known = began + interval
    for name, lags in (
        ("lag p99, first round", [check.lag for check in checks if check.due < known]),
        ("lag p99, afterwards", [check.lag for check in checks if check.due >= known]),
    ):
        if lags:
            largest = max(lags) * 1000
            yield milliseconds(
                name, [percentile(lags, 0.99)], f"{len(lags)} checks, at most {largest:.0f} ms"
            )
    due = healthy.due_between(began, ended)
    yield Figure(
        name="not checked",
        value=due - len(checks),
        unit="",
        detail=f"of {due} slots; counted as skipped: {dict(skipped)}",
    )
    yield Figure(name="busy threads", value=waiting, unit="", detail="as the daemon says")


@contextmanager
def _stopped(server: Nginx) -> Iterator[None]:
    """
    Stop a server where it stands: its socket goes on to listen, and nobody accepts.

    Raises:
        BenchError: It answers all the same.
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
    """Return the checks that the daemon remembers of each site, and what it skipped, by cause."""
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
