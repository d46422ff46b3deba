"""Turns another monitor's data about a site into spans, results and counts. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.model import Past
from monitor.past import Condition, Counted, Inherited, Span
from monitor.secrecy import hide_credentials
from monitor.units import Seconds, Timestamp

_LEAST_PATIENCE: Seconds = 300.0
_MISSED = 3
"""After this many intervals without a check, the site counts as unobserved."""
_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Beat:
    """
    One check, or one transition, as the other monitor stored it.

    Attributes:
        condition: What it found; None if the state did not change because of it, for example
            because a failure was not confirmed yet.
        up: The result of the check itself; None if it is not a check, or says nothing about the
            site.
    """

    time: Timestamp
    condition: Condition | None
    up: bool | None = None
    duration: Seconds = 0.0
    message: str = ""


def inherited(
    name: str,
    group: str,
    beats: Sequence[Beat],
    counts: Sequence[Counted],
    interval: Seconds,
    program: str,
) -> Inherited:
    """
    Return what is inherited of a site.

    Args:
        beats: Oldest first.
        counts: Oldest first.
        interval: From one check to the next.
    """
    own = _from_beats(name, beats, max(_LEAST_PATIENCE, _MISSED * interval))
    begin = own[0].begin if own else float("inf")
    return Inherited(
        group=group,
        spans=(*_from_counts(name, counts, begin, program), *own),
        results=tuple(
            Past(time=one.time, duration=one.duration, up=one.up)
            for one in beats
            if one.up is not None
        ),
        counts=tuple(counts),
    )


def _from_beats(name: str, beats: Sequence[Beat], patience: Seconds) -> list[Span]:
    found: list[Span] = []
    begin: Timestamp | None = None
    state: Condition | None = None
    message, last = "", 0.0

    def close(end: Timestamp) -> None:
        if begin is not None and state is not None and end > begin:
            said = message if state is Condition.DOWN else ""
            found.append(Span(site=name, condition=state, begin=begin, end=end, message=said))

    for beat in beats:
        gap = begin is not None and beat.time - last > patience
        if gap:
            close(last)
            begin, state = None, None
        if beat.condition is not None and beat.condition is not state:
            close(beat.time)
            begin, state = beat.time, beat.condition
            message = hide_credentials(beat.message)[:_MESSAGE]
        last = beat.time
    close(last)
    return found


def _from_counts(
    name: str, counts: Iterable[Counted], until: Timestamp, program: str
) -> list[Span]:
    """Return spans for hours and days, with the failed part at the end; finer ones win."""
    found: list[Span] = []
    finest = sorted(counts, key=lambda one: (one.begin, one.length))
    hours = [one for one in finest if one.length < 86400]  # noqa: PLR2004  a day
    first_hour = hours[0].begin if hours else until
    days = [one for one in finest if one.length >= 86400 and one.begin < first_hour]  # noqa: PLR2004  a day
    for one in [*days, *hours]:
        limit = first_hour if one.length >= 86400 else until  # noqa: PLR2004  a day
        end = min(one.begin + one.length, limit, until)
        total = one.up + one.down
        if end <= one.begin or not total:
            continue
        turn = one.begin + (end - one.begin) * one.up / total
        said = f"{one.down} of {total} checks failed, as {program} counted"
        for condition, begin, stop, message in (
            (Condition.UP, one.begin, turn, ""),
            (Condition.DOWN, turn, end, said),
        ):
            if stop > begin:
                span = Span(site=name, condition=condition, begin=begin, end=stop, message=message)
                _join(found, span)
    return found


def _join(found: list[Span], span: Span) -> None:
    """Add a span; merge it with a preceding span of the same condition."""
    last = found[-1] if found else None
    same = last is not None and last.end == span.begin and last.condition is span.condition
    if last is not None and same and span.condition is Condition.UP:
        found[-1] = Span(site=span.site, condition=span.condition, begin=last.begin, end=span.end)
    else:
        found.append(span)
