"""
What showing sites to Prometheus costs, beside prometheus_client doing the same.

    python -m tests.bench.exposition_cost [SITES]

Prints the microseconds of rendering one result, the milliseconds of one scrape in both formats, and
the longest time for which a scrape kept another thread from running; then the same of
``generate_latest`` over a registry that holds the same samples as ready-made metrics.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Self

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitor.app.runtime import SWITCH_INTERVAL
from monitor.board import BoardEntry, StatusBoard
from monitor.clock import SystemClock
from monitor.metrics.exposition import render
from monitor.metrics.internal import Internal
from monitor.metrics.scrape import Exposition, expose
from monitor.model import Seconds
from tests.metrics.states import BOUNDS, HTTP, ICMP, TCP, site, state

_SITES = 10_000
_TICK = 0.0002


class Ticker:
    """A thread that wants to run all the time, and records for how long it could not."""

    def __init__(self) -> None:
        self.longest: Seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        before = time.perf_counter()
        while not self._over.is_set():
            time.sleep(_TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - _TICK)
            before = now

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(0.05)
        self.longest = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Ready:
    """A collector whose metrics exist already, so that only making their text is measured."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def timed(work: Callable[[], object], times: int = 5) -> Seconds:
    """Return the fastest of several runs."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def call_cost(call: Callable[[], object], times: int = 50) -> Seconds:
    """Return the seconds of one call, in the best of many short runs, as the machine is shared."""

    def work() -> None:
        for _ in range(times):
            call()

    return timed(work, 1000) / times


def longest_hold(work: Callable[[], object]) -> Seconds:
    with Ticker() as ticker:
        for _ in range(3):
            work()
    return ticker.longest


def drain(pieces: Iterator[bytes]) -> int:
    return sum(map(len, pieces))


def main() -> None:
    """Print every figure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else _SITES
    sys.setswitchinterval(SWITCH_INTERVAL)
    for name, one in (
        ("https", state(site("https"), HTTP)),
        ("http", state(site("http"), replace(HTTP, tls=None))),
        ("tcp", state(site("tcp"), TCP)),
        ("icmp", state(site("icmp"), ICMP)),
    ):
        cost = call_cost(partial(render, one, BOUNDS))
        last = BoardEntry(one, render(one, BOUNDS))
        again = call_cost(partial(render, one, BOUNDS, last))
        say(f"render one {name} result: {cost * 1e6:.1f} µs, one like the last {again * 1e6:.1f}")

    meters = Internal(version="0", libcurl="0")
    for name, call in (
        ("started", partial(meters.started, 0.02)),
        ("analysed", partial(meters.analysed, 0.02, 16)),
    ):
        say(f"tell {name}: {call_cost(call) * 1e6:.1f} µs")

    board = StatusBoard()
    for number in range(count):
        one = state(site("https", name=f"site-{number}"), HTTP)
        board.publish((BoardEntry(one, render(one, BOUNDS)),))
    serieses = [entry.series for entry in board.entries()]
    page = Exposition(board, meters, SystemClock())
    gc.freeze()

    for accept in ("", "application/openmetrics-text; version=1.0.0"):

        def scrape(accept: str = accept) -> int:
            return drain(page.scrape(accept)[1])

        content_type, pieces = page.scrape(accept)
        sizes = [len(piece) for piece in pieces]
        say(
            f"scrape {count} sites as {content_type.partition(';')[0]}:"
            f" {timed(scrape) * 1e3:.0f} ms, {sum(sizes) / 1e6:.1f} MB in {len(sizes)} pieces,"
            f" the largest {max(sizes) // 1000} kB,"
            f" another thread waited at most {longest_hold(scrape) * 1e3:.1f} ms"
        )

    text = b"".join(expose(serieses, openmetrics=False)).decode()
    metrics = list(text_string_to_metric_families(text))
    samples = sum(len(metric.samples) for metric in metrics)
    registry = CollectorRegistry()
    registry.register(Ready(metrics))
    say(
        f"generate_latest over the same {samples} samples:"
        f" {timed(lambda: generate_latest(registry), 2) * 1e3:.0f} ms,"
        f" another thread waited at most"
        f" {longest_hold(lambda: generate_latest(registry)) * 1e3:.1f} ms"
    )


if __name__ == "__main__":
    main()
