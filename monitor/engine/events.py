"""Everything that can happen to the engine; it all arrives through one queue, the inbox."""

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
    An I/O thread has finished a check.

    Attributes:
        outcome: What was seen, or the exception that prevented the measurement; a
            NothingYetError if there is nothing to say about the site yet.
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
        worker: The number of the pool's place.
        generation: The number of the process in that place; answers of earlier processes are stale.
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
        process: The receiver must end it; None if none was started, and ``error`` says why.
    """

    worker: int
    generation: int
    process: WorkerProcess | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class SitesChanged:
    """
    A valid configuration was loaded.

    Attributes:
        bounds: Of the duration histogram, for counters that begin.
        applied: Resolved once the new list is being checked.
        connectivity: The targets that show whether the monitor itself is connected; may be empty.
        remembered: What an earlier run of the daemon knew about the sites, by name.
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
        site: Its name differs from that of every other site while the check is running.
        reply: Receives the result; is cancelled if the daemon stops first.
    """

    site: Site
    reply: "Future[Result]"


@dataclass(frozen=True, slots=True)
class NewsOf:
    """
    A listed site has something new to see; it is checked at once, or after the running check.

    Each of these events leads to one check.
    """

    name: str


@dataclass(frozen=True, slots=True)
class SecondOpinionAsked:
    """Another place has seen these sites fail and asks for a check now."""

    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacesChanged:
    """
    The number of places that check the same sites has changed.

    Attributes:
        place: The number of this place, from 0.
        places: How many places there are.
    """

    place: int
    places: int


@dataclass(frozen=True, slots=True)
class ReportsCame:
    """
    A place has reported its confirmed states.

    Attributes:
        position: The position of the message in the stream.
        applied: Whether an earlier run of the hub has applied it; it then only tells what the
            place said last.
    """

    batch: ReportBatch
    position: Position
    applied: bool


@dataclass(frozen=True, slots=True)
class BeatCame:
    """
    A daemon of a place sent a sign of life.

    Attributes:
        time: When it arrived, on our clock.
    """

    beat: SignOfLife
    time: Timestamp


@dataclass(frozen=True, slots=True)
class Pinged:
    """
    Asks whether the loop is still running.

    Attributes:
        reply: Resolved by the main thread.
    """

    reply: "Future[None]"


@dataclass(frozen=True, slots=True)
class StopRequested:
    """
    A request to stop in order; a second one stops at once.

    Attributes:
        grace: How long running checks may take to finish.
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
