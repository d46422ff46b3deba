"""Stand-ins that a test controls by hand: a clock, pools that do nothing alone, listeners."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.engine.events import BatchJudged, WorkerStarted
from monitor.engine.pools import Batch, Judged
from monitor.engine.threads import Visit
from monitor.model import (
    UP,
    Analysis,
    Job,
    Site,
    SiteState,
    Status,
    Verdict,
)


class FakeClock:
    """
    Both clocks stand still until advance() or sleep().

    Attributes:
        overslept: How much longer each sleep takes, as for a thread that others do not let in.
    """

    def __init__(self, monotonic: float = 1000.0, time: float = 1_800_000_000.0) -> None:
        self.now = monotonic
        self.overslept = 0.0
        self._wall = time - monotonic

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self._wall

    def sleep(self, seconds: float) -> None:
        self.advance(seconds + self.overslept)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def set_back(self, seconds: float) -> None:
        """Set the wall clock back, as a person does who finds it wrong."""
        self._wall -= seconds


class ManualProbes:
    """
    Stands in for the ProbePool: sites wait in ``submitted`` until the test answers for them.

    A visit begins when the clock says so, or the test has taken it.

    Attributes:
        moments: When what was ever submitted was to begin.
    """

    def __init__(self, threads: int, clock: FakeClock) -> None:
        self.threads = threads
        self.busy = 0
        self.submitted: list[Site] = []
        self.moments: list[float] = []
        self._clock = clock

    @property
    def free(self) -> int:
        return self.threads - self.busy

    def submit(self, site: Site, at: float) -> Visit:
        self.busy += 1
        self.submitted.append(site)
        self.moments.append(at)
        return Visit(site, at)

    def call_off(self, visit: Visit) -> bool:
        if visit.at <= self._clock.now or visit.site not in self.submitted:
            return False
        self.busy -= 1
        self.submitted.remove(visit.site)
        return True

    def attend(self, until: float) -> None:
        pass

    def unattended(self) -> float | None:
        return None

    def finished(self) -> None:
        self.busy -= 1

    def take(self) -> list[Site]:
        taken, self.submitted = self.submitted, []
        return taken


class ManualAnalysis:
    """Stands in for the AnalysisPool: batches wait until the test judges them."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.decided: list[Judged] = []
        self.jammed = False
        self.backlog = 0

    def submit(self, sites: Sequence[Site], jobs: Sequence[Job]) -> None:
        self.batches.append(Batch(tuple(sites), tuple(jobs), submitted=0.0))

    def on_started(self, event: WorkerStarted) -> None:
        raise NotImplementedError

    def on_judged(self, event: BatchJudged) -> list[Judged]:
        raise NotImplementedError

    def tick(self) -> list[Judged]:
        decided, self.decided = self.decided, []
        return decided

    def next_tick(self) -> float | None:
        return None

    def judge(self, verdict: Verdict = UP, **more) -> None:
        """Judge every waiting batch; the engine takes the verdicts on its next turn."""
        for batch in self.batches:
            analyses = tuple(Analysis(verdict=verdict, **more) for _ in batch.jobs)
            self.decided.append(Judged(batch, analyses))
        self.batches = []


@dataclass
class Listener:
    """Stands in for the publisher, the meters and the recorder; remembers what it was told."""

    published: dict[str, SiteState] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    restarts: int = 0
    bounds: tuple[float, ...] = ()
    site_count: int = 0
    connected: list[bool | None] = field(default_factory=list)
    notes: list[tuple[Status, float, bool]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    renames: list[tuple[str, str]] = field(default_factory=list)

    def noted(self, state: SiteState, time: float, *, checked: bool) -> None:
        self.notes.append((state.status, time, checked))

    def left(self, names: Iterable[str], time: float) -> None:  # noqa: ARG002  nobody asks when
        self.gone += names

    def renamed(self, old: str, new: str) -> None:
        self.renames.append((old, new))

    def publish(self, state: SiteState) -> None:
        self.published[state.site.name] = state

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.published.pop(name, None)

    def bounds_changed(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds

    def started(self, lag: float) -> None:
        self.lags.append(lag)

    def analysed(self, seconds: float, jobs: int) -> None:
        pass

    def judged_at_once(self) -> None:
        pass

    def sites(self, count: int) -> None:
        self.site_count = count

    def connectivity(self, up: bool | None) -> None:
        self.connected.append(up)

    def engine_restarted(self) -> None:
        self.restarts += 1


class HubListener(Listener):
    """Stands in for the same three in a hub; it takes everything, and every site is listed."""

    def reports(self, location: str, count: int, delay: float) -> None:
        pass

    def location(self, standing: object) -> None:
        pass

    def unlisted(self, location: str) -> None:
        raise AssertionError(location)

    def late(self, *told: Any) -> None:
        """Meters pass a place; recorders pass a site and its past."""

    def position(self, partition: int, sequence: int) -> None:
        pass
