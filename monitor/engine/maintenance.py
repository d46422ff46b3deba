"""
When maintenance windows open and close. Pure.

A window is open while a wall clock in its zone shows a time within it; a window that ends at or
before its start crosses midnight and belongs to the day on which it begins. When daylight saving
changes the clock:

    put back from 03:00 to 02:00, 02:00 to 03:00: from the first 02:00 to the last 03:00, two hours
    put forward from 02:00 to 03:00, 01:30 to 02:30: until the clock is put forward, half an hour
    put forward from 02:00 to 03:00, 02:15 to 02:45: not at all
    on either night, 22:00 to 06:00: nine hours, or seven

Windows that overlap or follow each other without a gap count as one.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from monitor.model import RecurringWindow, Seconds, Timestamp, Window

_DAY = timedelta(days=1)
_AHEAD = 15
"""How many days to look ahead: the clock may jump over a weekly window once."""
_LOOK_AGAIN: Seconds = 60.0
"""The longest time between two looks: nothing announces that the clock was set forward."""
_SET_BACK: Seconds = 1.0
"""A larger step back means that the clock was set back; NTP makes smaller ones."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """
    Whether a window is open at a moment, and for how long.

    Attributes:
        open: Whether a window is open.
        until: When that changes; None if it never will.
    """

    open: bool
    until: Timestamp | None


@lru_cache(maxsize=256)  # most windows are in defaults, so many sites ask at the same moment
def stretch(windows: tuple[Window, ...], now: Timestamp) -> WindowState:
    """
    Return whether one of the windows is open, and until when that stays so.

    Windows that never close are looked at again every two weeks; ``until`` is then no change.
    """
    spans = sorted(span for window in windows for span in _spans(window, now))
    until: Timestamp | None = None
    for start, end in spans:
        if end <= now:
            continue
        if until is None:
            if start > now:
                return WindowState(open=False, until=start)
            until = end
        elif start <= until:
            until = max(until, end)
    return WindowState(open=until is not None, until=until)


def planned(windows: tuple[Window, ...], now: Timestamp) -> tuple[tuple[Timestamp, Timestamp], ...]:
    """
    Return the current or next opening of each window as begin and end, the soonest first.

    A recurring window is found up to two weeks ahead, a one-time window at any distance.
    """
    found = {
        next((span for span in sorted(_spans(window, now)) if span[1] > now), None)
        for window in windows
    }
    return tuple(sorted(span for span in found if span is not None))


class Calendar:
    """
    Tracks which sites' windows open or close next, on a clock that may be set.

    The mutable state is the table of sites, a heap of (moment, name) and the latest time that the
    clock has shown; it belongs to the engine. Entries of the heap that the table no longer knows
    are skipped.

    A site's moment is the first change after the time at which it was computed. If the clock is set
    forward, that is still right and only comes sooner; if it is set back, earlier changes may lie
    before it, so every site is looked at again:

        2036-05-01  the clock is wrong; the next window opens at 2036-05-02T02:00
        2026-11-20  it was put right; every site is due, and the window opens at 2026-11-21T02:00
    """

    def __init__(self) -> None:
        self._latest: Timestamp = float("-inf")
        self._sites: dict[str, tuple[tuple[Window, ...], Timestamp | None]] = {}
        self._heap: list[tuple[Timestamp, str]] = []

    def put(self, name: str, windows: tuple[Window, ...], now: Timestamp) -> bool:
        """Add a site, or replace the one with its name; return whether a window is open."""
        self._latest = max(self._latest, now)
        found = stretch(windows, now)
        self._sites[name] = windows, found.until
        if found.until is not None:
            heapq.heappush(self._heap, (found.until, name))
        return found.open

    def remove(self, name: str) -> None:
        self._sites.pop(name, None)

    def next_edge(self) -> Timestamp | None:
        """Return when to look next: at an edge, or a minute after the last look."""
        edge = self._first_edge()
        return None if edge is None else min(edge, self._latest + _LOOK_AGAIN)

    def pop(self, now: Timestamp, at_most: int) -> Iterator[tuple[str, bool]]:
        """
        Yield sites whose moment has come, and whether one of their windows is open.

        After the clock was set back, these are all sites with windows, changed or not.
        """
        if now < self._latest - _SET_BACK:
            self._latest = now
            self._look_at_all(now)
        self._latest = max(self._latest, now)
        for _ in range(at_most):
            edge = self._first_edge()
            if edge is None or edge > now:
                return
            _, name = heapq.heappop(self._heap)
            windows, _ = self._sites[name]
            yield name, self.put(name, windows, now)

    def _look_at_all(self, now: Timestamp) -> None:
        """Make every site with windows due now, even those whose windows were over."""
        due = sorted(name for name, (windows, _) in self._sites.items() if windows)
        for name in due:
            self._sites[name] = self._sites[name][0], now
        self._heap = [(now, name) for name in due]  # sorted, and therefore a heap

    def _first_edge(self) -> Timestamp | None:
        while self._heap and not self._is_meant(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_meant(self, moment: Timestamp, name: str) -> bool:
        return name in self._sites and self._sites[name][1] == moment


def _spans(window: Window, now: Timestamp) -> Iterator[tuple[Timestamp, Timestamp]]:
    """Yield the spans around *now* in which a window is open."""
    if isinstance(window, RecurringWindow):
        today = datetime.fromtimestamp(now, window.zone).date()
        length = _DAY if window.end <= window.start else timedelta()
        # One that began the day before yesterday may still be open if the clock was put back
        for offset in range(-2, _AHEAD + 1):
            day = today + offset * _DAY
            if day.weekday() in window.days:
                start = datetime.combine(day, window.start)
                end = datetime.combine(day + length, window.end)
                yield from _span(start, end, window.zone)
    else:
        yield from _span(window.start, window.end, window.zone)


def _span(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[Timestamp, Timestamp]]:
    first, last = _shown_at(start, zone)[0], _shown_at(end, zone)[1]
    if first < last:
        yield first, last


def _shown_at(local: datetime, zone: ZoneInfo) -> tuple[Timestamp, Timestamp]:
    """
    Return the first and the last moment at which a clock in the zone shows this time.

    If the clock jumps over this time, both are the moment of the jump.
    """
    first = local.replace(tzinfo=zone, fold=0).timestamp()
    last = local.replace(tzinfo=zone, fold=1).timestamp()
    if first <= last:
        return first, last
    # In that case PEP 495 puts the two on the two sides of the jump, the later one first
    before = datetime.fromtimestamp(last, zone).utcoffset()
    moments = range(int(last), int(first) + 1)
    jump = bisect_left(
        moments,
        True,
        key=lambda moment: datetime.fromtimestamp(moment, zone).utcoffset() != before,
    )
    return float(moments[jump]), float(moments[jump])
