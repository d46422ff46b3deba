"""
Turns a site's states into its two tracks of spans: confirmed state, and maintenance. Pure.

A state that turns to down was down from the first failure on, so everything written since then is
written again; but nothing is said about time in which no monitor looked. Some examples, with
``confirm.failures`` of 2, results above (``.`` up, ``x`` down, ``!`` an error of ours) and the
confirmed state below (``u`` up, ``d`` down, ``?`` unknown):

    .  .  x  x  x  .  .          .  .  x  !  x  x          .  .  x  (restart)  x  x
    u  u  d  d  d  u  u          u  u  d  d  d  d          u  u  d             d  d
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from monitor.history.journal import milliseconds
from monitor.history.schema import MAINTENANCE_TRACK, STATE_TRACK
from monitor.history.uptime import Milliseconds
from monitor.model import SiteState, Status
from monitor.past import Condition

_CONDITIONS = {
    Status.UP: Condition.UP,
    Status.DOWN: Condition.DOWN,
    Status.UNKNOWN: Condition.UNKNOWN,
}


class Row(NamedTuple):
    """
    A span to write, which replaces an earlier one with the same track and begin.

    Attributes:
        end: None while it lasts; at or before ``begin`` there is no such span, and it is to go.
    """

    track: int
    begin: Milliseconds
    end: Milliseconds | None
    condition: Condition
    reason: str | None = None
    message: str = ""


@dataclass(slots=True)
class Tracks:
    """
    Where the two tracks of a site stand.

    Attributes:
        status: The confirmed state, as it was told last.
        state: The span of it that lasts; None while nobody observes the site.
        window: The span of maintenance that lasts.
        in_doubt: Spans that ended since the first failure, while it is not confirmed.
        closed: Where open spans ended at a restart or a gap; no span begins earlier, even if the
            clock was set back. What a hub hears later may be from before.
        window_closed: The same for maintenance.
    """

    status: Status = Status.UNKNOWN
    state: Row | None = None
    window: Row | None = None
    in_doubt: list[Row] = field(default_factory=list)
    closed: Milliseconds = 0
    window_closed: Milliseconds = 0

    def on_result(self, after: SiteState, at: Milliseconds) -> list[Row]:
        """Return the spans to be written after a result that came at a moment."""
        before, self.status = self.status, after.status
        error = after.last is not None and after.last.error is not None
        condition = Condition.UNKNOWN if error else _CONDITIONS[after.status]
        lasts = self.state
        rows: list[Row] = []
        if lasts is None:
            begin = max(at, self.closed)
            lasts = Row(STATE_TRACK, begin, None, condition, *_cause(after, condition))
            rows = [lasts]
        if after.status is Status.DOWN and before is not Status.DOWN:
            if after.streak_since is not None:
                first = milliseconds(after.streak_since)
                rows += self._down_since(first, lasts, _cause(after, Condition.DOWN))
                lasts = rows[-1]
        elif lasts.condition is not condition:
            begin = max(at, lasts.begin)  # somebody may have set the clock back
            ended = lasts._replace(end=begin)
            lasts = Row(STATE_TRACK, begin, None, condition, *_cause(after, condition))
            rows += [ended, lasts]
            self.in_doubt.append(ended)
        self.state = lasts
        if after.said is not False or after.status is Status.DOWN:
            self.in_doubt.clear()
        return rows

    def on_maintenance(self, *, is_open: bool, at: Milliseconds) -> list[Row]:
        """Return the spans to be written as a window opens or closes, or is as it was."""
        if is_open == (self.window is not None):
            return []
        if self.window is None:
            begin = max(at, self.window_closed)
            self.window = Row(MAINTENANCE_TRACK, begin, None, Condition.MAINTENANCE)
            return [self.window]
        self.window_closed = max(at, self.window.begin)
        ended = self.window._replace(end=self.window_closed)
        self.window = None
        return [ended]

    def on_gap(self, at: Milliseconds) -> list[Row]:
        """Return the spans to be written where nobody looked any more from a moment on."""
        rows = self.on_maintenance(is_open=False, at=at)
        if self.state is not None:
            self.closed = max(at, self.state.begin)
            ended = self.state._replace(end=self.closed)
            self.in_doubt.append(ended)
            rows.append(ended)
        self.state = None
        return rows

    def on_filled(self, rows: Iterable[Row]) -> None:
        """Record spans that filled() returned: the open state may begin later now."""
        lasting = [row for row in rows if row.end is None and row.track == STATE_TRACK]
        if self.state is not None and lasting:
            self.state = lasting[-1]

    def _down_since(
        self, first: Milliseconds, lasts: Row, cause: tuple[str | None, str]
    ) -> list[Row]:
        rows = []
        for row in (*self.in_doubt, lasts):
            if row.end is not None and row.end <= max(first, row.begin):
                continue
            if row.begin < first:
                rows.append(row._replace(end=first))
            rows.append(Row(STATE_TRACK, max(first, row.begin), row.end, Condition.DOWN, *cause))
        return rows


def filled(stored: Sequence[Row], wanted: Sequence[Row]) -> list[Row]:
    """
    Return the spans to write so that the past shows what is wanted where it shows nothing.

    It shows nothing while it is unknown, and between two spans while no monitor looked; time that
    was reported as up or down stays.

    Args:
        stored: Spans of the state in order, without overlap; those around what is wanted too.
        wanted: Spans in order, without overlap; all of them ended.
    """
    rows: list[Row] = []
    until: Milliseconds | None = None
    for row in stored:
        if until is not None and until < row.begin:
            rows += _within(wanted, until, row.begin)
        if row.condition is Condition.UNKNOWN:
            rows += _told(row, _within(wanted, row.begin, row.end))
        until = row.end
    return rows


def _within(wanted: Sequence[Row], begin: Milliseconds, end: Milliseconds | None) -> list[Row]:
    cut = (
        one._replace(
            begin=max(one.begin, begin),
            end=one.end if end is None or one.end is None else min(one.end, end),
        )
        for one in wanted
    )
    return [one for one in cut if one.end is not None and one.begin < one.end]


def _told(unknown: Row, parts: Sequence[Row]) -> list[Row]:
    """Return other spans within an unknown span, and what is left of it around them."""
    if not parts:
        return []
    rows: list[Row] = []
    at: Milliseconds = unknown.begin
    for part in parts:
        if at < part.begin:
            rows.append(unknown._replace(begin=at, end=part.begin))
        rows.append(part)
        at = part.end or at
    if unknown.end is None or at < unknown.end:
        rows.append(unknown._replace(begin=at))
    return rows


def latest(rows: Iterable[Row]) -> dict[tuple[int, Milliseconds], Row]:
    """Return the rows that remain after these rows are written one after another."""
    return {(row.track, row.begin): row for row in rows}


def _cause(state: SiteState, condition: Condition) -> tuple[str | None, str]:
    analysis = state.finished.analysis if state.finished else None
    if condition is not Condition.DOWN or analysis is None:
        return None, ""
    return analysis.verdict.reason, analysis.verdict.message
