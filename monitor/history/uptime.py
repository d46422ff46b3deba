"""
Computes availability from spans, and is the only place that does. Pure.

Times are whole milliseconds since 1970 in UTC, so that sums of days are exact. Periods are
half-open. A site's past consists of two tracks: its confirmed state (up, down, unknown; what
neither covers was not observed), and its maintenance, which covers and hides the state. Some
examples, with one letter per second (``u`` up, ``d`` down, ``m`` maintenance, ``.`` not observed):

    state        uuuudddduu..uuuu
    maintenance       mm
    composed     uuuudmmduu..uuuu   10 s up, 2 s down, 2 s maintenance: 10 of 12, 12 of 16 observed

An outage is what people would call one: periods of down between which the site was never seen in
another condition are one outage. So maintenance or a restart of the monitor in the middle does not
split it in two.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from monitor.past import Condition, Uptime

Milliseconds: TypeAlias = int

SECOND: Milliseconds = 1000
HOUR: Milliseconds = 3_600_000
DAY: Milliseconds = 86_400_000

_SAYS_OTHERWISE = frozenset((Condition.UP, Condition.UNKNOWN))


class Stretch(NamedTuple):
    """A period in one condition; ``reason`` and ``message`` belong to a down one."""

    begin: Milliseconds
    end: Milliseconds
    condition: Condition
    reason: str | None = None
    message: str = ""

    def within(self, begin: Milliseconds, end: Milliseconds) -> "Stretch":
        return self._replace(begin=max(self.begin, begin), end=min(self.end, end))


class Sums(NamedTuple):
    """
    The sums of a window; those of adjacent windows can be added, the earlier one first.

    Attributes:
        up: Milliseconds, as are the next three fields.
        begun: Outages that began in the window.
        continued: Whether the first down period in it belongs to an outage from before.
        was_down: Whether the last observation before the window's end was down.
    """

    up: Milliseconds = 0
    down: Milliseconds = 0
    maintenance: Milliseconds = 0
    unknown: Milliseconds = 0
    begun: int = 0
    continued: bool = False
    was_down: bool = False

    @property
    def outages(self) -> int:
        return self.begun + self.continued

    def then(self, later: "Sums") -> "Sums":
        """Return the sums of both windows; the later one must know what came before it."""
        return Sums(
            self.up + later.up,
            self.down + later.down,
            self.maintenance + later.maintenance,
            self.unknown + later.unknown,
            self.begun + later.begun,
            self.continued if self.down else later.continued,
            later.was_down,
        )

    def uptime(self, window: Milliseconds) -> Uptime:
        return Uptime(
            window=window / SECOND,
            up=self.up / SECOND,
            down=self.down / SECOND,
            outages=self.outages,
        )


def compose(states: Iterable[Stretch], maintenance: Sequence[Stretch]) -> list[Stretch]:
    """
    Return the spans that count: the states, hidden by maintenance.

    Each track is in order and does not overlap itself. Maintenance that was not observed, because
    no monitor ran, does not count: it is cut to the periods that have a state.
    """
    if not maintenance:
        return list(states)
    found: list[Stretch] = []
    begins = [one.begin for one in maintenance]
    for state in states:
        at = state.begin
        for window in maintenance[max(0, bisect_right(begins, at) - 1) :]:
            if window.begin >= state.end:
                break
            hidden = window.within(at, state.end)
            if hidden.begin >= hidden.end:
                continue
            if at < hidden.begin:
                found.append(state.within(at, hidden.begin))
            if found and found[-1].condition is hidden.condition and found[-1].end == hidden.begin:
                found[-1] = found[-1]._replace(end=hidden.end)
            else:
                found.append(hidden)
            at = hidden.end
        if at < state.end:
            found.append(state.within(at, state.end))
    return found


def with_gaps(
    stretches: Iterable[Stretch], begin: Milliseconds, end: Milliseconds
) -> list[Stretch]:
    """Return periods that cover the whole window; unobserved time is a period too."""
    found: list[Stretch] = []
    at = begin
    for one in clipped(stretches, begin, end):
        if at < one.begin:
            found.append(Stretch(at, one.begin, Condition.UNOBSERVED))
        found.append(one)
        at = one.end
    if at < end:
        found.append(Stretch(at, end, Condition.UNOBSERVED))
    return found


def clipped(
    stretches: Iterable[Stretch], begin: Milliseconds, end: Milliseconds
) -> Iterable[Stretch]:
    """Yield the parts of the periods that are within the window."""
    for one in stretches:
        if one.begin < end and one.end > begin:
            yield one.within(begin, end)


def tally(
    spans: Iterable[Stretch], begin: Milliseconds, end: Milliseconds, *, was_down: bool = False
) -> Sums:
    """
    Return the sums of a window.

    Args:
        spans: From compose(); they may reach beyond the window.
        was_down: Whether the last observation before all of the spans was down.
    """
    up = down = hidden = unknown = begun = 0
    continued = False
    for one_begin, one_end, condition, _, _ in spans:
        if one_begin >= end:
            break
        length = min(one_end, end) - max(one_begin, begin)
        if condition is Condition.UP:
            up += max(0, length)
            was_down = False
        elif condition is Condition.DOWN:
            if length > 0:
                down += length
                if one_begin < begin or was_down:
                    continued = continued or not begun
                else:
                    begun += 1
            was_down = True
        elif condition is Condition.UNKNOWN:
            unknown += max(0, length)
            was_down = False
        elif condition is Condition.MAINTENANCE:
            hidden += max(0, length)
    return Sums(up, down, hidden, unknown, begun, continued, was_down)


def outages(spans: Iterable[Stretch]) -> list[Stretch]:
    """
    Return each outage as one period, from its first to its last moment of being down.

    It has the reason and the message of its first part.
    """
    found: list[Stretch] = []
    goes_on = False
    for one in spans:
        if one.condition is Condition.DOWN:
            if goes_on:
                found[-1] = found[-1]._replace(end=one.end)
            else:
                found.append(one)
            goes_on = True
        elif one.condition in _SAYS_OTHERWISE:
            goes_on = False
    return found
