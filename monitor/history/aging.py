"""
Which sites' hours and days are over, and what is too old: the writer's upkeep of the store.

It comes after what was noted is written, in transactions of its own, each for a few sites: what
goes wrong here costs nothing that was noted, and news of a site waits for one of them at most.
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
"""So long after its end an hour or a day is over for good: results come late, and an outage may
turn out to have begun in it."""
_PAGES = 200
"""Given back to the file system at a time, where an SQLite file has more to spare than _SLACK."""
_SLACK = 0.1
_SHRINK = 0.9
_STEPS = 44
"""Each minute above max_size shortens what is kept to nine tenths, 44 times at most a kind."""
_ROOMY = 0.9
_LONG: Seconds = 10 * 365 * 86400.0
"""What "for ever" counts as where max_size shortens it."""
_FORGET = 5
"""Removed sites that are forgotten at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """
    How long what is kept; None is for ever.

    Attributes:
        max_size: Of an SQLite file; what is oldest and finest goes first.
    """

    raw: Seconds | None
    five_minutes: Seconds | None
    hourly: Seconds | None
    daily: Seconds | None
    removed: Seconds | None
    max_size: Bytes


class Aging:
    """The state belongs to the writer's thread: whose turn it is, and how scarce space is."""

    def __init__(self, keep: Keep, breathe: Breathe) -> None:
        self._keep = keep
        self._breathe = breathe
        self._due: deque[KeptSite] = deque()
        self._pressure = 0  # steps by which max_size has made what is kept shorter

    @property
    def is_due(self) -> bool:
        return bool(self._due)

    def clear(self) -> None:
        """Forget whose turn it is; the store is another than before."""
        self._due.clear()

    def take(self, some: Iterable[KeptSite], now: Milliseconds) -> None:
        """Line up those sites that have an hour or a day that is over."""
        hour, today = _over(now, HOUR), _over(now, DAY)
        self._due.extend(
            kept for kept in some if kept.hours_until < hour or kept.days_until < today
        )

    def count_again(self, kept: KeptSite, time: Milliseconds, now: Milliseconds) -> None:
        """Have an hour counted once more that got a late result, while its results are kept."""
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
        """Keep the store within bounds, forget sites that left long ago, and return its size."""
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
        """Count what is over of sites' hours and days, and drop what is too old."""
        hour, today = _over(now, HOUR), _over(now, DAY)
        hours = {site: kept.hours_until for site, kept in members.items()}
        hours = {site: since for site, since in hours.items() if since < hour}
        rows = 0
        if hours:
            rows += coarsening.roll_up_hours(connection, hours, hour, self._breathe)
        days = {site: kept.days_until for site, kept in members.items()}
        days = {site: since for site, since in days.items() if since < today}
        if days:
            # What was summed up before may lack some of its five minutes by now
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
        """Drop what is too old, but nothing out of which something coarser is still to be made."""
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
        """Return since when a kind is kept: results, five minutes, hours, days."""
        keep = self._keep
        kept = (keep.raw, keep.five_minutes, keep.hourly, keep.daily)[kind]
        share = self._share(kind)
        if kept is None:
            return None if share >= 1 else now - int(_LONG * share * 1000)
        return now - int(kept * share * 1000)

    def _share(self, kind: int) -> float:
        """Return how much of a kind max_size leaves; the finer ones shrink first, down to 1 %."""
        return max(0.01, _SHRINK ** min(max(0, self._pressure - kind * _STEPS), _STEPS))


def _over(now: Milliseconds, step: Milliseconds) -> int:
    """Return the number of the first hour or day that is not over for good."""
    return (now - _LATE) // step
