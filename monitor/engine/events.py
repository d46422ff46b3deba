"""Everything that can happen to the engine; all of it enters by one queue, the inbox."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeAlias

from monitor.engine.worker import WorkerProcess
from monitor.model import Analysis, Observation, Result, Seconds, Site, SiteChange, Timestamp
from monitor.past import Remembered
from monitor.places import Position, ReportBatch, SignOfLife
from monitor.records import statically_frozen


@statically_frozen(frozen=True, slots=True)
class ProbeFinished:
    """
    An I/O thread is done with a site.

    Attributes:
        outcome: What was seen, or the exception that kept the monitor from looking; a
            NothingYetError where there is nothing to say of the site yet.
        began: On the monotonic clock.
    """

    site: Site
    outcome: Observation | BaseException
    began: Seconds


@dataclass(frozen=True, slots=True)
class BatchJudged:
    """
    A worker process has answered, or died, or was killed because it took too long.

    Attributes:
        worker: Which of the pool's places.
        generation: Which process in that place; an answer of an earlier one is stale.
        memory: The worker's resident bytes after the batch.
    """

    worker: int
    generation: int
    outcome: tuple[Analysis, ...] | BaseException
    memory: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """
    A worker process has answered for the first time, or could not be started.

    Attributes:
        process: The receiver has to end it; None if none was started, and ``error`` says why.
    """

    worker: int
    generation: int
    process: WorkerProcess | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class SitesChanged:
    """
    A good configuration was read.

    Attributes:
        bounds: Of the duration histogram, for counters that begin.
        applied: Is resolved once the new list is checked.
        connectivity: The targets that show whether the monitor itself is connected; may be empty.
        remembered: What an earlier life of the daemon knew of sites, by name.
    """

    change: SiteChange
    bounds: tuple[Seconds, ...]
    applied: "Future[None] | None" = None
    connectivity: tuple[Site, ...] = ()
    remembered: Mapping[str, Remembered] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckRequested:
    """
    A request for one check, now, of a site that is not listed.

    Attributes:
        site: Its name differs from that of every other site while the check is under way.
        reply: Gets the result; is cancelled if the daemon stops first.
    """

    site: Site
    reply: "Future[Result]"


@dataclass(frozen=True, slots=True)
class NewsOf:
    """
    A listed site has something new to be seen; it is checked at once, or after the check under way.

    Each of these leads to a check of its own.
    """

    name: str


@dataclass(frozen=True, slots=True)
class SecondOpinionAsked:
    """Another place has seen these sites fail, and asks that they are checked now."""

    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacesChanged:
    """
    Another number of places checks the same sites.

    Attributes:
        place: Ours among them, from 0.
        places: How many there are.
    """

    place: int
    places: int


@dataclass(frozen=True, slots=True)
class ReportsCame:
    """
    A place has reported what it settled.

    Attributes:
        position: Where the message stands in the stream.
        applied: Whether an earlier life of the hub has applied it; then it only tells what the
            place said last.
    """

    batch: ReportBatch
    position: Position
    applied: bool


@dataclass(frozen=True, slots=True)
class BeatCame:
    """
    A daemon of a place gave a sign of life.

    Attributes:
        time: When it came, on our clock.
    """

    beat: SignOfLife
    time: Timestamp


@dataclass(frozen=True, slots=True)
class Pinged:
    """
    A question whether the loop turns.

    Attributes:
        reply: Is resolved by the main thread.
    """

    reply: "Future[None]"


@dataclass(frozen=True, slots=True)
class StopRequested:
    """
    A request to stop in order; a second one stops at once.

    Attributes:
        grace: How long checks in flight may go on.
    """

    grace: Seconds


Event: TypeAlias = (
    ProbeFinished
    | BatchJudged
    | WorkerStarted
    | SitesChanged
    | CheckRequested
    | NewsOf
    | SecondOpinionAsked
    | PlacesChanged
    | ReportsCame
    | BeatCame
    | Pinged
    | StopRequested
)
Inbox: TypeAlias = "SimpleQueue[Event]"
