"""
Questions about the past: spans, uptime, days, outages, latency. Records and one port.

``history/`` answers, ``web/`` and ``commands/`` ask; neither imports the other, so the records that
they exchange are here. Times are Unix seconds, lengths are seconds, and every period is half-open:
``begin`` belongs to it, ``end`` does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from monitor.model import Past, Result, SiteState, Status
from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


class Condition(StrEnum):
    """The condition of a site during a period, as availability counts it."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    """The monitor looked and could not tell."""
    MAINTENANCE = "maintenance"
    """A maintenance window was open, whatever the checks said."""
    UNOBSERVED = "unobserved"
    """No monitor ran, or it did not have this site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A period in one condition; the spans of a site follow each other without overlap.

    Attributes:
        end: None while it lasts.
        reason: Of the failure that confirmed it; None unless the condition is down.
        message: Of the same failure, only for operators: it may name addresses.
    """

    site: str
    condition: Condition
    begin: Timestamp
    end: Timestamp | None = None
    reason: str | None = None
    message: str = ""


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Uptime:
    """
    How available a site was within a window.

    Attributes:
        window: The length of the window.
        up: Seconds in which the site was up; ``down`` in the same way.
        outages: How many down spans overlap the window.
    """

    window: Seconds
    up: Seconds
    down: Seconds
    outages: int = 0

    @property
    def ratio(self) -> float | None:
        """Up ÷ (up + down), from 0 to 1; None without any observation, never 1 by default."""
        observed = self.up + self.down
        return self.up / observed if observed > 0 else None

    @property
    def coverage(self) -> float:
        """(up + down) ÷ window, from 0 to 1: how much of the window the ratio covers."""
        return (self.up + self.down) / self.window if self.window > 0 else 0.0


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Day:
    """
    One UTC day of a site, for the bars.

    Attributes:
        begin: Its midnight.
        uptime: The uptime in the part of the day that has passed.
        maintenance: Seconds of maintenance.
    """

    begin: Timestamp
    uptime: Uptime
    maintenance: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPoint:
    """
    The durations of the checks that were up within one step.

    Attributes:
        count: The number of checks; if it is 0, the other fields are None.
    """

    begin: Timestamp
    count: int
    p50: Seconds | None = None
    p95: Seconds | None = None
    p99: Seconds | None = None
    max: Seconds | None = None


@statically_frozen(frozen=True, slots=True)
class Noted:
    """
    A site's state in the engine, for the history.

    Attributes:
        time: When the state began.
        checked: Whether a check led to it, which is then the first of ``state.recent``.
    """

    state: SiteState
    time: Timestamp
    checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """
    What an earlier run of the daemon knew about a site that is still the same; see SiteState.

    Attributes:
        repeats: How many more checks said the same since ``streak`` and ``turns`` were stored.
        recent: The last checks, newest first.
        failures: The last results that were down, newest first, with their evidence.
    """

    status: Status
    since: Timestamp
    streak: int = 0
    streak_since: Timestamp | None = None
    said: bool | None = None
    turns: int = 0
    repeats: int = 0
    flapping: bool = False
    content: str | None = None
    content_changed: Timestamp | None = None
    recent: tuple[Past, ...] = ()
    failures: tuple[Result, ...] = ()


class Owed(NamedTuple):
    """
    A row about a message that was sent to somebody, or is still to be sent.

    Attributes:
        seat: The daemon that wrote it, among those that share the store: its shard.
    """

    kind: str
    key: str
    seat: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """
    What another monitor kept about an hour or a day.

    Attributes:
        length: 3600 or 86400 seconds; ``begin`` is a multiple of it.
        up: How many checks were up; ``down`` in the same way.
        mean: Of the durations of the checks that were up, as are ``least`` and ``most``.
    """

    begin: Timestamp
    length: Seconds
    up: int
    down: int
    mean: Seconds = 0.0
    least: Seconds = 0.0
    most: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """
    What another monitor knew about a site before this one began to check it.

    Attributes:
        group: The site's group in our list.
        spans: In order, closed, without overlap; none is longer than what was observed.
        results: Single checks, oldest first.
        counts: Of hours and days, oldest first; if there are results for the same time, both count
            the same checks.
    """

    group: str
    spans: tuple[Span, ...] = ()
    results: tuple[Past, ...] = ()
    counts: tuple[Counted, ...] = ()


class History(Protocol):
    """
    The queries of pages, the API, badges and reports; for any thread except the main thread.

    A site that is not remembered gets empty answers, never an error. Names are those of the list.
    """

    def uptime(
        self, sites: Sequence[str], begin: Timestamp, end: Timestamp
    ) -> Mapping[str, Uptime]: ...

    def days(self, sites: Sequence[str], *, days: int, now: Timestamp) -> Mapping[str, list[Day]]:
        """Return the last *days* UTC days of each site, oldest first; today is the last."""

    def outages(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> list[Span]:
        """Return the down spans that overlap the window, newest first."""

    def latency(
        self, site: str, begin: Timestamp, end: Timestamp, step: Seconds
    ) -> list[LatencyPoint]: ...

    def results(
        self, site: str, begin: Timestamp, end: Timestamp, limit: int | None = None
    ) -> list[Past]:
        """Return the last results of a window, newest first."""
