"""Daemons that a test runs by hand, one after the other: what the engine would note."""

import math
from pathlib import Path
from typing import Any

from monitor.engine.state import Depth, advance, begin, resume
from monitor.history.aging import Keep
from monitor.history.reader import Reader
from monitor.history.store import connect, store_url
from monitor.history.writer import Writer
from monitor.model import Result, Site, SiteState, Status
from tests.fakes import FakeClock

BOUNDS = (1.0,)
DEPTH = Depth(results=20, failures=5)
DAY = 86400.0
KEEP = Keep(
    raw=7 * DAY,
    five_minutes=35 * DAY,
    hourly=400 * DAY,
    daily=None,
    removed=30 * DAY,
    max_size=2 * 1024**3,
)


class Told:
    """Stands in for the meters."""

    def __init__(self) -> None:
        self.failures = 0
        self.dropped = 0
        self.persistent: list[bool] = []
        self.size = 0

    def history_written(self, rows: int, seconds: float) -> None:
        pass

    def history_failed(self) -> None:
        self.failures += 1

    def history_dropped(self, results: int) -> None:
        self.dropped += results

    def history_persistent(self, persistent: bool) -> None:
        self.persistent.append(persistent)

    def history_size(self, size: int) -> None:
        self.size = size


class World:
    """A store, a clock, and one daemon after the other."""

    def __init__(
        self,
        folder: Path,
        store: str | None,
        time: float = 1_800_000_000.0,
        silence: float = math.inf,
    ) -> None:
        self.url = store_url(store, folder)
        self.silence = silence
        self.clock = FakeClock(time=time)
        self.told = Told()
        self.states: dict[str, SiteState] = {}
        self.writer: Any = None
        self.keep = KEEP
        self._readers: list[Reader] = []

    def start(self, *sites: Site, seat: str = "1/1", remembering: bool = True) -> None:
        """Start a daemon: read back what is remembered of these sites."""
        self.writer = Writer(
            lambda: connect(self.url, writes=True, silence=self.silence),
            seat=seat,
            version="1",
            clock=self.clock,
            meters=self.told,
            keep=self.keep,
            results=DEPTH.results,
        )
        known = self.writer.ask(sites)
        self.turn()
        found = known.result(0) if remembering else {}
        self.states = {}
        for site in sites:
            self.put(site, found.get(site.name))

    def put(self, site: Site, known=None) -> None:
        now = self.clock.time()
        state = resume(site, known, BOUNDS, DEPTH) if known else begin(site, BOUNDS, now)
        self.states[site.name] = state
        self.writer.noted(state, now, checked=False)

    def enter(self, result: Result) -> None:
        """Have a result change its site's state, as the engine would."""
        state, _ = advance(self.states[result.site], result, BOUNDS, DEPTH)
        self.states[result.site] = state
        self.writer.noted(state, result.observation.time, checked=True)

    def status(self, name: str = "shop") -> Status:
        return self.states[name].status

    def turn(self) -> None:
        self.writer._turn()

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the daemon runs and nothing happens."""
        self.clock.advance(seconds)
        self.turn()

    def stop(self) -> None:
        self.writer._turn(stopping=True)
        self.writer._engine.dispose()

    def kill(self) -> None:
        """Kill the daemon before it has written everything."""
        if self.writer._engine is not None:
            self.writer._engine.dispose()
        self.writer = None

    def reader(self) -> Reader:
        self._readers.append(Reader(connect(self.url, writes=False), self.clock))
        return self._readers[-1]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        if self.writer is not None:
            self.kill()
