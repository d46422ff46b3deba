"""
Availability out of spans: the one place where it is computed. Pure.

Times are whole milliseconds since 1970 in UTC, so that sums of days are exact. Stretches are
half-open. A site's past is two tracks: its confirmed state (up, down, unknown; what neither covers
was not observed), and its maintenance, which lies over the state and hides it. Some examples, a
letter a second (``u`` up, ``d`` down, ``m`` maintenance, ``.`` not observed):

    state        uuuudddduu..uuuu
    maintenance       mm
    composed     uuuudmmduu..uuuu   10 s up, 2 s down, 2 s maintenance: 10 of 12, 12 of 16 observed

An outage is what people would call one: stretches of down between which the site was never seen to
be otherwise are one outage. So maintenance or a restart of the monitor in its middle does not make
two of it.
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
    """A stretch of time in one condition; ``reason`` and ``message`` are those of a down one."""

    begin: Milliseconds
    end: Milliseconds
    condition: Condition
    reason: str | None = None
    message: str = ""

    def within(self, begin: Milliseconds, end: Milliseconds) -> "Stretch":
        return self._replace(begin=max(self.begin, begin), end=min(self.end, end))


class Sums(NamedTuple):
    """
    What a window consists of; those of adjacent windows can be added up, the earlier one first.

    Attributes:
        up: Milliseconds, as the three after it are.
        begun: Outages that began in the window.
        continued: Whether the first stretch of down in it belongs to an outage from before.
        was_down: Whether the last that was seen before the window's end was down.
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
    Return the spans that count: the states, hidden where there was maintenance.

    Each track is in order and does not overlap itself. Maintenance that nobody observed, because
    no monitor ran, is no maintenance: it is cut to where there is a state.
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
    """Return what covers the window without a hole: what was not observed is a stretch, too."""
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
    """Yield what of the stretches lies in the window."""
    for one in stretches:
        if one.begin < end and one.end > begin:
            yield one.within(begin, end)


def tally(
    spans: Iterable[Stretch], begin: Milliseconds, end: Milliseconds, *, was_down: bool = False
) -> Sums:
    """
    Return what a window consists of.

    Args:
        spans: As compose() returns them; they may reach beyond the window.
        was_down: Whether the last that was seen before all of the spans was down.
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
    Return each outage as one stretch, from its first moment of being down to its last.

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
