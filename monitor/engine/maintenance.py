"""
When maintenance windows open and close. Pure.

A window is open while a clock on a wall in its zone shows a time in it; a window that ends at or
before its start goes over midnight and belongs to the day it begins on. Where daylight saving
turns that clock:

    put back from 03:00 to 02:00, 02:00 to 03:00: from the first 02:00 to the last 03:00, two hours
    put forward from 02:00 to 03:00, 01:30 to 02:30: until the clock is put forward, half an hour
    put forward from 02:00 to 03:00, 02:15 to 02:45: not at all
    on either night, 22:00 to 06:00: nine hours, or seven

Windows that overlap, or follow each other without a gap, are one.
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
"""Days that are looked ahead: a window a week may be skipped once, when the clock jumps over it."""
_LOOK_AGAIN: Seconds = 60.0
"""At the latest: the machine's clock may be set forward, and no edge tells of that."""
_SET_BACK: Seconds = 1.0
"""Beyond it the machine's clock was set back; less is how NTP keeps it right."""


@dataclass(frozen=True, slots=True)
class WindowState:
    """
    How things stand at a moment, and for how long.

    Attributes:
        open: Whether a window is open.
        until: When that changes; None when it never will.
    """

    open: bool
    until: Timestamp | None


@lru_cache(maxsize=256)  # windows mostly stand in defaults, and many sites ask at the same moment
def stretch(windows: tuple[Window, ...], now: Timestamp) -> WindowState:
    """
    Return whether one of the windows is open, and until when that is so.

    Windows that never close are looked at again every two weeks: ``until`` is then no change.
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
    Return when each window is open, now or the next time: begin and end, the soonest first.

    One that recurs is told of two weeks ahead, one that happens once from when it is written.
    """
    found = {
        next((span for span in sorted(_spans(window, now)) if span[1] > now), None)
        for window in windows
    }
    return tuple(sorted(span for span in found if span is not None))


class Calendar:
    """
    Which sites' windows open or close next, by a clock that may be set.

    The mutable state is the table of sites, a heap of (moment, name) and the latest time the clock
    has shown; only the engine has it. A moment of the heap that the table does not know any
    more is passed over.

    A site's moment is the first change after the time it was found at. When the clock is set
    forward, it is still that, only sooner; when the clock is set back, changes may lie before it,
    and every site is looked at again:

        2036-05-01  the clock is wrong; the next window opens at 2036-05-02T02:00
        2026-11-20  it was put right; every site is due, and the window opens at 2026-11-21T02:00
    """

    def __init__(self) -> None:
        self._latest: Timestamp = float("-inf")
        self._sites: dict[str, tuple[tuple[Window, ...], Timestamp | None]] = {}
        self._heap: list[tuple[Timestamp, str]] = []

    def put(self, name: str, windows: tuple[Window, ...], now: Timestamp) -> bool:
        """Take a site in, in the place of one of that name; returns whether a window is open."""
        self._latest = max(self._latest, now)
        found = stretch(windows, now)
        self._sites[name] = windows, found.until
        if found.until is not None:
            heapq.heappush(self._heap, (found.until, name))
        return found.open

    def remove(self, name: str) -> None:
        self._sites.pop(name, None)

    def next_edge(self) -> Timestamp | None:
        """Return the next moment worth looking at: an edge, or a minute after the last look."""
        edge = self._first_edge()
        return None if edge is None else min(edge, self._latest + _LOOK_AGAIN)

    def pop(self, now: Timestamp, at_most: int) -> Iterator[tuple[str, bool]]:
        """
        Yield sites whose moment has come, and whether a window of theirs is open.

        After the clock was set back, that is every site with windows, changed or not.
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
        """Have the moment of every site with windows come, those whose windows were over too."""
        due = sorted(name for name, (windows, _) in self._sites.items() if windows)
        for name in due:
            self._sites[name] = self._sites[name][0], now
        self._heap = [(now, name) for name in due]  # sorted, and so a heap

    def _first_edge(self) -> Timestamp | None:
        while self._heap and not self._is_meant(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_meant(self, moment: Timestamp, name: str) -> bool:
        return name in self._sites and self._sites[name][1] == moment


def _spans(window: Window, now: Timestamp) -> Iterator[tuple[Timestamp, Timestamp]]:
    """Yield from when until when a window is open, around *now*."""
    if isinstance(window, RecurringWindow):
        today = datetime.fromtimestamp(now, window.zone).date()
        length = _DAY if window.end <= window.start else timedelta()
        # One that began the day before yesterday may still be open where a clock was put back
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
    Return when a clock in the zone shows this time, first and last.

    For a time it jumps over, both are the moment of the jump.
    """
    first = local.replace(tzinfo=zone, fold=0).timestamp()
    last = local.replace(tzinfo=zone, fold=1).timestamp()
    if first <= last:
        return first, last
    # By PEP 495, the two lie on the two sides of the jump then, the later one first
    before = datetime.fromtimestamp(last, zone).utcoffset()
    moments = range(int(last), int(first) + 1)
    jump = bisect_left(
        moments,
        True,
        key=lambda moment: datetime.fromtimestamp(moment, zone).utcoffset() != before,
    )
    return float(moments[jump]), float(moments[jump])
