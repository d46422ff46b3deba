"""What is known about a site: its last results, its counters, its confirmed state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from monitor.model.observation import Observation, Reason
from monitor.model.site import Site
from monitor.model.verdict import Analysis
from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


class Status(StrEnum):
    """
    The state of a site.

    MAINTENANCE is only ever shown (``SiteState.shown``): checks continue while a window is open,
    and ``SiteState.status`` is the confirmed state that they lead to.
    """

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    MAINTENANCE = "maintenance"


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Result:
    """
    One finished check without bodies and with secrets masked, ready to be shown and kept.

    Attributes:
        error: The monitor's own fault, as a sentence; such a check says nothing about the site.
        excerpt: The beginning of the body; kept only for failures.
    """

    site: str
    url: str
    observation: Observation
    analysis: Analysis | None = None
    error: str | None = None
    excerpt: str | None = None

    @property
    def up(self) -> bool | None:
        """None if the monitor could not look or judge."""
        return self.analysis.verdict.up if self.analysis else None


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Past:
    """
    The part of an earlier check that is kept: little, because there are many.

    Attributes:
        up: None if the monitor could not look or judge.
    """

    time: Timestamp
    duration: Seconds
    up: bool | None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """
    One place's part in a verdict, and why it counts or not.

    Attributes:
        state: The state that the place has confirmed.
        since: When that began, on the hub's clock.
        reason: The reason of the failure; None unless ``state`` is down.
        counted: Whether it is one of the votes.
        why_not: Why it has no vote, as a clause; empty if it has one.
    """

    location: str
    state: Status
    since: Timestamp
    reason: Reason | None = None
    message: str = ""
    counted: bool = True
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """
    The combined votes of all places on a site.

    Attributes:
        status: The verdict; None if there are fewer votes than the quorum demands.
        split: Whether there are enough votes neither for down nor for up.
        votes: Of every place that has ever reported the site, ordered by name.
        first: When the failure began that led to the verdict down; None otherwise.
        expires: When the first of the counted votes becomes stale; None without any.
    """

    status: Status | None
    split: bool = False
    votes: tuple[Vote, ...] = ()
    first: Timestamp | None = None
    expires: Timestamp | None = None

    def ups(self) -> int:
        return sum(one.counted and one.state is Status.UP for one in self.votes)

    def downs(self) -> int:
        return sum(one.counted and one.state is Status.DOWN for one in self.votes)


def explained(votes: Iterable[Vote]) -> str:
    """Return ``down from fra, nyc; up from sin; ams has no vote: its own connection is lost``."""
    votes = tuple(votes)
    parts = []
    for state in (Status.DOWN, Status.UP):
        names = [one.location for one in votes if one.counted and one.state is state]
        if names:
            parts.append(f"{state} from {', '.join(names)}")
    parts += [f"{one.location} has no vote: {one.why_not}" for one in votes if not one.counted]
    return "; ".join(parts)


_NONE: Mapping[Any, int] = MappingProxyType({})


def _none() -> Mapping[Any, int]:
    """Return the one empty mapping: most sites have nothing to count."""
    return _NONE


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Counters:
    """
    What has been counted since the site entered the list.

    Attributes:
        checks: Finished checks, up or down.
        failures: Those of them that were down, by reason.
        errors: Checks that failed because of the monitor itself; not included in ``checks``.
        skipped: Slots that were not run, by cause.
        durations: One count per bucket of ``monitor_check_duration_seconds``, not cumulative; the
            last counts what exceeded every bound.
        duration_sum: The sum of the durations of the same checks.
    """

    checks: int = 0
    failures: Mapping[Reason, int] = field(default_factory=_none)
    errors: int = 0
    skipped: Mapping[str, int] = field(default_factory=_none)
    durations: tuple[int, ...] = ()
    duration_sum: Seconds = 0.0


@statically_frozen(frozen=True, slots=True, kw_only=True)
class SiteState:
    """
    Everything that is known about a site; it is replaced, never changed.

    Attributes:
        status: The confirmed state; unknown until a first result confirms one.
        since: When ``status`` last changed.
        streak: How many consecutive results were up, or were down; errors are skipped.
        streak_since: The time of the first of these; None before the first result.
        said: Whether they were up; None before the first result.
        turns: A bit for each of the last finished checks, the latest lowest: whether it differed
            from the check before.
        flapping: Whether so many of these differed that ``status`` alone would mislead.
        maintenance: Whether one of the site's windows is open.
        because: For a site that is down, the site whose outage is the cause: the first of its
            ``depends_on`` that is down, followed up to one that depends on no other site that is
            down; empty if there is none.
        content: The SHA-256 of the watched content when it was last seen.
        content_changed: When it last changed; None if it never did.
        last: The last check since the daemon started, errors included; for a site that was down
            before a restart, its last failure.
        finished: The last check that was up or down, not an error; gauges show it.
        recent: The last checks, newest first.
        failures: The last results that were down, newest first, with their evidence.
        joint: The votes of the places; None if this daemon checks the site itself.
    """

    site: Site
    status: Status = Status.UNKNOWN
    since: Timestamp
    streak: int = 0
    streak_since: Timestamp | None = None
    said: bool | None = None
    turns: int = 0
    flapping: bool = False
    maintenance: bool = False
    because: str = ""
    content: str | None = None
    content_changed: Timestamp | None = None
    last: Result | None = None
    finished: Result | None = None
    recent: tuple[Past, ...] = ()
    failures: tuple[Result, ...] = ()
    counters: Counters = Counters()
    joint: Joint | None = None

    @property
    def shown(self) -> Status:
        """The state for people: maintenance first; unknown while the monitor cannot look."""
        if self.maintenance:
            return Status.MAINTENANCE
        if self.last and self.last.error is not None:
            return Status.UNKNOWN
        return self.status


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of the confirmed state; becomes one log line."""

    before: Status
    after: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    The current load.

    Attributes:
        threads: How many checks can run at once.
        busy: How many are running.
        slow: How many of these are for sites that hung the last time.
        waiting: Checks that wait for a thread.
        waiting_slow: Checks of sites that hung the last time; they wait in a separate line.
        batches: Batches that wait for a worker process.
    """

    threads: int = 0
    busy: int = 0
    slow: int = 0
    waiting: int = 0
    waiting_slow: int = 0
    batches: int = 0

    @property
    def well(self) -> int:
        """Running checks of sites that did not hang the last time."""
        return self.busy - self.slow

    @property
    def idle(self) -> int:
        return self.threads - self.busy
