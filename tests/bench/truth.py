"""How true the reported durations are, under load and while Prometheus scrapes."""

import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from monitor.model import Seconds, Timestamp
from tests.bench.blackbox import Asker, Blackbox
from tests.bench.figures import BenchError, Figure, milliseconds, percentile, ratio
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab, Witnessed
from tests.bench.scrape import AS_PROMETHEUS, Scrape
from tests.system.processes import Daemon

_DELAY: Seconds = 0.05
_SCRAPE_INTERVAL: Seconds = 5.0
_SHARES = (("p50", 0.5), ("p99", 0.99))
_SLACK: Seconds = 0.005  # the wall clock, by which both tell moments, may be set a little meanwhile


class _Prometheus:
    """Scrapes the daemon regularly until the block ends, and keeps every scrape."""

    def __init__(self, daemon: Daemon) -> None:
        self.scrapes: list[Scrape] = []
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self.scrapes.append(Scrape(self._daemon.url, AS_PROMETHEUS))
            due += _SCRAPE_INTERVAL


def durations(lab: Lab) -> Iterator[Figure]:
    """Measure how much the reported durations exceed the server's delay, and what a scrape adds."""
    ours: list[list[Seconds]] = []
    theirs: list[list[Seconds]] = []
    least: list[tuple[Seconds, Seconds]] = []
    growth: list[Seconds] = []
    overlapped = 0
    server = lab.delay_server(_DELAY)
    fleet = Fleet(
        count=lab.effort.sites,
        url=server.url,
        interval=max(1, lab.effort.sites // lab.effort.true_rate),
    )
    with lab.blackbox() as exporter:
        for _ in range(lab.effort.rounds):
            during, between = _daemon(lab, fleet)
            ours.append([*during, *between])
            overlapped += len(during)
            growth.append(percentile(during, 0.99) - percentile(between, 0.99))
            theirs.append(_exporter(lab, exporter, fleet))
            least.append(_least(lab, fleet))
    exactness = f"the server: {server.exactness()}"
    for name, share in _SHARES:
        yield ratio(
            name,
            [percentile(errors, share) for errors in ours],
            [percentile(errors, share) for errors in theirs],
        )
    for (name, _), values in zip(_SHARES, zip(*least, strict=True), strict=True):
        yield milliseconds(f"{name}, the least in threads", values)
    detail = f"{overlapped} checks overlapped a scrape; {exactness}"
    yield milliseconds("p99 added by a scrape", growth, detail)


def _daemon(lab: Lab, fleet: Fleet) -> tuple[list[Seconds], list[Seconds]]:
    """Return the errors of the checks that a scrape overlapped, and of all others."""
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        began = time.time()
        with _Prometheus(daemon) as prometheus:
            time.sleep(max(lab.effort.window, lab.effort.scrapes * _SCRAPE_INTERVAL))
        prometheus.scrapes.append(Scrape(daemon.url))
    during: list[Seconds] = []
    between: list[Seconds] = []
    for started, duration in _checks(prometheus.scrapes):
        if started + duration < began:
            continue
        overlapped = any(
            scrape.began < started + duration and started < scrape.ended
            for scrape in prometheus.scrapes
        )
        (during if overlapped else between).append(duration - _DELAY)
    if not during or not between:
        raise BenchError("no check was seen while a scrape ran, or none without")
    return during, between


def _checks(scrapes: Sequence[Scrape]) -> set[tuple[Timestamp, Seconds]]:
    """Return start and duration of every check that was a site's last when it was scraped."""
    found = set()
    for scrape in scrapes:
        started = scrape.by_site("monitor_last_check_timestamp_seconds")
        if scrape.total("probe_success") != len(started):
            raise BenchError("not every check succeeded")
        for name, duration in scrape.by_site("probe_duration_seconds").items():
            found.add((started[name], duration))
    return found


def phases_over_tls(lab: Lab) -> Iterator[Figure]:
    """
    Measure how far phases over TLS are from what the server's side saw of the same checks.

    Another build of ours, if there is one, takes turns.
    """
    builds = {"": False}
    if lab.other_build:
        builds[f", {lab.other_build.name}"] = True
    rounds: dict[str, list[Mapping[str, list[Seconds]]]] = {build: [] for build in builds}
    priority = ""
    for _ in range(lab.effort.rounds):
        for build, other in builds.items():
            found, priority = _tls_daemon(lab, other=other)
            rounds[build].append(found)
    for build, seen in rounds.items():
        for phase in seen[0]:
            checks = sum(len(one[phase]) for one in seen)
            about = f"{checks:,} checks; the relay: {priority} priority"
            for name, share in _SHARES:
                values = [percentile(one[phase], share) for one in seen]
                yield milliseconds(f"{phase} {name}{build}", values, about)


def _tls_daemon(lab: Lab, *, other: bool) -> tuple[Mapping[str, list[Seconds]], str]:
    """Return the errors of one daemon, and the priority of the relay that saw its checks."""
    relay = lab.relay(_DELAY)
    fleet = Fleet(
        count=lab.effort.sites,
        url=relay.url,
        interval=max(1, lab.effort.sites // lab.effort.tls_rates[-1]),
        options=f"tls: {{ca_file: {lab.roots}, server_name: NAME.nginx.example}}",
    )
    with lab.daemon(fleet, other=other) as daemon:
        lab.until_all_checked(daemon, fleet)
        began = time.time()
        with _Prometheus(daemon) as prometheus:
            time.sleep(lab.effort.window)
        prometheus.scrapes.append(Scrape(daemon.url))
    witnessed: dict[str, list[Witnessed]] = defaultdict(list)
    for one in relay.witnessed():
        witnessed[one.name.partition(".")[0]].append(one)
    return _phase_errors(prometheus.scrapes, witnessed, began), relay.priority


def _phase_errors(
    scrapes: Sequence[Scrape], witnessed: Mapping[str, Sequence[Witnessed]], began: Timestamp
) -> dict[str, list[Seconds]]:
    """Return by how much each phase differs, in either direction, for the checks since a moment."""
    errors: dict[tuple[str, Timestamp], tuple[Seconds, Seconds]] = {}
    for scrape in scrapes:
        durations = scrape.by_site("probe_duration_seconds")
        tls = scrape.by_site("probe_http_duration_seconds", 'phase="tls"')
        processing = scrape.by_site("probe_http_duration_seconds", 'phase="processing"')
        for name, started in scrape.by_site("monitor_last_check_timestamp_seconds").items():
            if started < began:
                continue
            ended = started + durations[name]
            seen = [one for one in witnessed[name] if started - _SLACK < one.connected < ended]
            if len(seen) != 1:
                raise BenchError(f"of a check of {name} the relay saw {len(seen)}")
            errors[name, started] = (
                abs(tls[name] - seen[0].tls),
                abs(processing[name] - seen[0].processing),
            )
    if not errors:
        raise BenchError("no check was seen")
    return {
        "tls": [one for one, _ in errors.values()],
        "processing": [one for _, one in errors.values()],
    }


def _exporter(lab: Lab, exporter: Blackbox, fleet: Fleet) -> list[Seconds]:
    with Asker(exporter, fleet) as asker:
        time.sleep(lab.effort.settle)
        began = time.time()
        time.sleep(lab.effort.window)
    for answer in asker.answers:
        answer.require_success()
    return [
        answer.value("probe_duration_seconds") - _DELAY
        for answer in asker.answers
        if answer.asked >= began
    ]


def _least(lab: Lab, fleet: Fleet) -> tuple[Seconds, Seconds]:
    """Return p50 and p99 of what libcurl itself measures in Python threads, with no scrape."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.floor",
        fleet.url,
        str(lab.roots),
        str(fleet.rate),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(lab.effort.settle + lab.effort.window)
            process.terminate()
            middle, tail = process.communicate()[0].split()
        finally:
            process.kill()
    return float(middle) - _DELAY, float(tail) - _DELAY
