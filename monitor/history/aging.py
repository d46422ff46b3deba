"""
The upkeep of the store: which hours and days are over, and which data is too old.

It runs after new records are written, in its own transactions, each for a few sites: an error here
loses no new record, and news of a site waits for at most one of these transactions.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, Engine

from monitor.history import coarsening, ledger
from monitor.history.breath import Breathe
from monitor.history.kept import KeptSite
from monitor.history.rollup import DAILY, FIVE_MINUTES, HOURLY
from monitor.history.uptime import DAY, HOUR, Milliseconds
from monitor.model import Bytes, Seconds

_AT_ONCE = 16
"""Sites whose results are rolled up in one transaction."""
_LATE: Milliseconds = 600_000
"""An hour or day is over for good this long after its end: results may come late, and an outage may
turn out to have begun in it."""
_PAGES = 200
"""Pages returned to the file system at a time, if an SQLite file has more spare than _SLACK."""
_SLACK = 0.1
_SHRINK = 0.9
_STEPS = 44
"""Each minute above max_size shortens one kind's retention to nine tenths, at most 44 times."""
_ROOMY = 0.9
_LONG: Seconds = 10 * 365 * 86400.0
"""The retention that "forever" stands for when max_size shortens it."""
_FORGET = 5
"""Removed sites that are forgotten at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """
    How long each kind of data is kept; None is forever.

    Attributes:
        max_size: The limit of an SQLite file; the oldest and finest data is dropped first.
    """

    raw: Seconds | None
    five_minutes: Seconds | None
    hourly: Seconds | None
    daily: Seconds | None
    removed: Seconds | None
    max_size: Bytes


class Aging:
    """The state, which sites come next and how scarce space is, belongs to the writer's thread."""

    def __init__(self, keep: Keep, breathe: Breathe) -> None:
        self._keep = keep
        self._breathe = breathe
        self._due: deque[KeptSite] = deque()
        self._pressure = 0  # steps by which max_size has shortened the retention

    @property
    def is_due(self) -> bool:
        return bool(self._due)

    def clear(self) -> None:
        """Forget which sites come next, because the store has been replaced."""
        self._due.clear()

    def take(self, some: Iterable[KeptSite], now: Milliseconds) -> None:
        """Queue the sites that have an hour or a day that is over."""
        hour, today = _over(now, HOUR), _over(now, DAY)
        self._due.extend(
            kept for kept in some if kept.hours_until < hour or kept.days_until < today
        )

    def count_again(self, kept: KeptSite, time: Milliseconds, now: Milliseconds) -> None:
        """Count an hour again that got a late result, as long as its results are kept."""
        hour = time // HOUR
        oldest = self._moment(0, now)
        if hour < kept.hours_until and (oldest is None or hour * HOUR >= oldest):
            kept.hours_until = hour
            kept.days_until = min(kept.days_until, hour * HOUR // DAY)

    def step(self, engine: Engine, now: Milliseconds) -> int:
        """Roll up and sum up the next sites, and return how many rows were written."""
        some = list(islice(self._due, _AT_ONCE))
        members = {kept.id: kept for kept in some if kept.id is not None}
        self._breathe()
        with engine.begin() as connection:
            rows = self._roll_up(connection, members, now)
        for kept in members.values():
            kept.hours_until = max(kept.hours_until, _over(now, HOUR))
            kept.days_until = kept.summed_up = max(kept.days_until, _over(now, DAY))
        for _ in some:
            self._due.popleft()
        return rows

    def look(self, connection: Connection, listed: Sequence[KeptSite], now: Milliseconds) -> Bytes:
        """Keep the store within its limits, forget sites that left long ago; return its size."""
        whole, used = ledger.size(connection)
        if connection.dialect.name == "sqlite":
            if used > self._keep.max_size:
                self._pressure += 1
                for part in ledger.in_parts(listed):
                    self._trim(connection, part, now)
            elif used < self._keep.max_size * _ROOMY and self._pressure:
                self._pressure -= 1
            if whole - used > whole * _SLACK:
                ledger.give_back(connection, _PAGES)
        if self._keep.removed is not None:
            ledger.forget_removed(connection, now - int(self._keep.removed * 1000), _FORGET)
        return whole

    def _roll_up(
        self, connection: Connection, members: Mapping[int, KeptSite], now: Milliseconds
    ) -> int:
        """Count the sites' hours and days that are over, and drop what is too old."""
        hour, today = _over(now, HOUR), _over(now, DAY)
        hours = {site: kept.hours_until for site, kept in members.items()}
        hours = {site: since for site, since in hours.items() if since < hour}
        rows = 0
        if hours:
            rows += coarsening.roll_up_hours(connection, hours, hour, self._breathe)
        days = {site: kept.days_until for site, kept in members.items()}
        days = {site: since for site, since in days.items() if since < today}
        if days:
            # Hours that were counted before may lack some of their five-minute rollups by now
            finest = self._moment(1, now)
            whole = 0 if finest is None else -(-finest // DAY)
            first = {
                site: max(since, min(members[site].summed_up, whole))
                for site, since in days.items()
            }
            rows += coarsening.roll_up_days(connection, first, today, self._breathe)
            coarsening.sum_up_days(connection, days, today, self._breathe)
        if hours:
            self._trim(connection, list(members.values()), now)
        return rows

    def _trim(self, connection: Connection, some: Sequence[KeptSite], now: Milliseconds) -> None:
        """Drop what is too old, except data from which a coarser rollup is still to be made."""
        raw, fine, hourly, daily = (self._moment(kind, now) for kind in range(4))
        hours = min((kept.hours_until for kept in some), default=0)
        days = min((kept.days_until for kept in some), default=0)
        coarsening.trim(
            connection,
            [kept.id for kept in some if kept.id is not None],
            None if raw is None else min(raw, (hours - 1) * HOUR),
            {
                FIVE_MINUTES: None if fine is None else min(fine, days * DAY),
                HOURLY: hourly,
                DAILY: daily,
            },
            self._breathe,
        )

    def _moment(self, kind: int, now: Milliseconds) -> Milliseconds | None:
        """Return since when a kind is kept: results, five minutes, hours or days."""
        keep = self._keep
        kept = (keep.raw, keep.five_minutes, keep.hourly, keep.daily)[kind]
        share = self._share(kind)
        if kept is None:
            return None if share >= 1 else now - int(_LONG * share * 1000)
        return now - int(kept * share * 1000)

    def _share(self, kind: int) -> float:
        """Return the share of a kind that max_size leaves; finer ones shrink first, down to 1 %."""
        return max(0.01, _SHRINK ** min(max(0, self._pressure - kind * _STEPS), _STEPS))


def _over(now: Milliseconds, step: Milliseconds) -> int:
    """Return the number of the first hour or day that is not over for good."""
    return (now - _LATE) // step
