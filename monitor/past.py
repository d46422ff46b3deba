"""
What can be asked of the past: spans, uptime, days, outages, latency. Records and one port.

``history/`` answers, ``web/`` and ``commands/`` ask; neither imports the other, so what passes
between them stands here. Times are Unix seconds, lengths are seconds, and every stretch of time is
half-open: ``begin`` belongs to it, ``end`` does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from monitor.model import Past, Result, SiteState, Status
from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


class Condition(StrEnum):
    """What a site was in for a stretch of time, as availability is accounted for."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    """The monitor looked and could not tell."""
    MAINTENANCE = "maintenance"
    """A window was open, whatever the checks said."""
    UNOBSERVED = "unobserved"
    """No monitor ran, or it did not have this site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A stretch of time in one condition; the spans of a site follow each other without overlap.

    Attributes:
        end: None while it lasts.
        reason: Of the failure that confirmed it; None unless the condition is down.
        message: Likewise, for the operator's eyes only: it may name addresses.
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
        up: Seconds in which the site was up; ``down`` likewise.
        outages: How many down spans overlap the window.
    """

    window: Seconds
    up: Seconds
    down: Seconds
    outages: int = 0

    @property
    def ratio(self) -> float | None:
        """Up ÷ (up + down), from 0 to 1; None without any observation, never a kind 1."""
        observed = self.up + self.down
        return self.up / observed if observed > 0 else None

    @property
    def coverage(self) -> float:
        """(up + down) ÷ window, from 0 to 1: how much of the window the ratio speaks of."""
        return (self.up + self.down) / self.window if self.window > 0 else 0.0


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Day:
    """
    One UTC day of a site, for the bars.

    Attributes:
        begin: Its midnight.
        uptime: Of the part of the day that has passed.
        maintenance: Seconds of it.
    """

    begin: Timestamp
    uptime: Uptime
    maintenance: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPoint:
    """
    The durations of the checks that were up within one step.

    Attributes:
        count: How many; the others are None where it is 0.
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
    A site's state as the engine has it, for the memory.

    Attributes:
        time: When it became so.
        checked: Whether a check brought it, which is then the first of ``state.recent``.
    """

    state: SiteState
    time: Timestamp
    checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """
    What an earlier life of the daemon knew of a site that is still the same; see SiteState.

    Attributes:
        repeats: How many more checks said the same since ``streak`` and ``turns`` were taken down.
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
    A row of what was told to whom, or is to be.

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
    What another monitor kept of an hour or a day.

    Attributes:
        length: 3600 or 86400 seconds; ``begin`` is a multiple of it.
        up: How many checks were up; ``down`` likewise.
        mean: Of the durations of those that were up; ``least`` and ``most`` likewise.
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
    What another monitor knew of a site, before this one began to look.

    Attributes:
        group: Of the site, as our list has it.
        spans: In order, closed, without overlap; none is longer than what was observed.
        results: Single checks, oldest first.
        counts: Of hours and days, oldest first; those of which there are results too are the same
            checks.
    """

    group: str
    spans: tuple[Span, ...] = ()
    results: tuple[Past, ...] = ()
    counts: tuple[Counted, ...] = ()


class History(Protocol):
    """
    The questions that pages, the API, badges and reports ask; called from any thread but the main.

    A site that is not remembered gets empty answers, never an error. Names are those of the list.
    """

    def uptime(
        self, sites: Sequence[str], begin: Timestamp, end: Timestamp
    ) -> Mapping[str, Uptime]: ...

    def days(self, sites: Sequence[str], *, days: int, now: Timestamp) -> Mapping[str, list[Day]]:
        """Return the last so many UTC days of each site, oldest first, today the last of them."""

    def outages(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> list[Span]:
        """Return the down spans that overlap the window, newest first."""

    def latency(
        self, site: str, begin: Timestamp, end: Timestamp, step: Seconds
    ) -> list[LatencyPoint]: ...

    def results(
        self, site: str, begin: Timestamp, end: Timestamp, limit: int | None = None
    ) -> list[Past]:
        """Return the last results of a window, newest first."""
