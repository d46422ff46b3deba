"""
Computes the next state of a site from a result: confirmation, flapping, counters, memory. Pure.

A site's confirmed state turns to down after ``confirm.failures`` consecutive results that were
down, and back to up after ``confirm.successes``. From unknown, the first result that is up is
enough, because there is nothing to recover from.

A site starts flapping once 6 of its last 20 finished checks differed from the check before, and
stops once no more than 3 did. Raw results count, so confirmation does not hide a site that fails
now and then. Some examples, with ``.`` for up and ``x`` for down:

    ....................x.................... 2 turns: one failed check is not flapping
    .........xxxxx........xxxxxxx............ 4 turns: nor are two outages
    ......x...x...x.......................... 6 turns: it flaps from the third return on, until
    the third turn lies more than 20 checks back
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx no turn: it is steadily down
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from monitor.model import (
    UP,
    Analysis,
    Counters,
    Joint,
    Observation,
    Past,
    Reason,
    Result,
    Seconds,
    Site,
    SiteState,
    Status,
    Timestamp,
    Transition,
    Verdict,
    explained,
)
from monitor.past import Remembered
from monitor.records import replace

_Key = TypeVar("_Key")

_WATCHED = 20
"""How many finished checks decide about flapping."""
_FLAPS_ABOVE = 5
_STEADY_UP_TO = 3
"""Turns among these; the two limits differ, so that flapping itself does not flap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much of a site's past is kept."""

    results: int
    failures: int


def begin(site: Site, bounds: tuple[Seconds, ...], now: Timestamp) -> SiteState:
    """Return the state of a site that was never checked."""
    return SiteState(site=site, since=now, counters=Counters(durations=(0,) * (len(bounds) + 1)))


def advance(
    state: SiteState, result: Result, bounds: tuple[Seconds, ...], depth: Depth
) -> tuple[SiteState, Transition | None]:
    """
    Return the state after one more result, and the transition of the confirmed state if any.

    Args:
        bounds: Of the duration histogram; as many as ``state`` was created with.
    """
    seen = result.observation
    verdict = result.analysis.verdict if result.analysis else None
    past = Past(
        time=seen.time,
        duration=seen.duration,
        up=result.up,
        reason=verdict.reason if verdict else None,
    )
    recent = (past, *state.recent)[: depth.results]
    if verdict is None:
        counters = replace(state.counters, errors=state.counters.errors + 1)
        return replace(state, last=result, recent=recent, counters=counters), None

    result = _sharing(state.finished, result)
    repeats = state.said == verdict.up
    turned = state.said is not None and not repeats
    turns = _next_turns(state.turns, turned=turned)
    streak = state.streak + 1 if repeats else 1
    watched = result.analysis.content if result.analysis else None
    content = watched.sha256 if watched else None
    changed = content is not None and state.content not in (None, content)
    status = _confirmed(state, streak, up=verdict.up)
    # Not by replace(), as nearly every field changes
    after = SiteState(
        site=state.site,
        status=status,
        since=state.since if status is state.status else seen.time,
        streak=streak,
        streak_since=state.streak_since if repeats else seen.time,
        said=verdict.up,
        turns=turns,
        flapping=_flaps(turns, before=state.flapping),
        maintenance=state.maintenance,
        content=content or state.content,
        content_changed=seen.time if changed else state.content_changed,
        last=result,
        finished=result,
        recent=recent,
        failures=state.failures if verdict.up else (result, *state.failures)[: depth.failures],
        counters=_count(state.counters, result, bounds),
    )
    if status is state.status:
        return after, None
    return after, Transition(before=state.status, after=status)


def join(
    state: SiteState,
    joint: Joint,
    said: Past,
    bounds: tuple[Seconds, ...],
    depth: Depth,
    *,
    reported: bool,
) -> tuple[SiteState, Transition | None]:
    """
    Return the state after the votes of all places were counted, and the transition if any.

    While there is no verdict, the confirmed state stays, just as it does while a single monitor
    cannot look: the site is shown as unknown, and the next verdict is a transition only if it
    differs.

    Args:
        said: What caused the count: a place's check, or, if *reported* is false, the passing of
            time.
        bounds: Of the duration histogram; as many as ``state`` was created with.
    """
    site = state.site
    recent = (said, *state.recent)[: depth.results]
    counters = _count_past(state.counters, said, bounds) if reported else state.counters
    seen = Observation(time=said.time, duration=said.duration)
    if joint.status is None or joint.status is Status.UNKNOWN:
        why = explained(joint.votes) or "no place has reported yet"
        error = f"the votes are split: {why}" if joint.split else f"too few votes: {why}"
        last = Result(site=site.name, url=site.target, observation=seen, error=error)
        return replace(state, last=last, recent=recent, counters=counters, joint=joint), None
    up = joint.status is Status.UP
    verdict = UP if up else down_by(joint)
    result = Result(
        site=site.name, url=site.target, observation=seen, analysis=Analysis(verdict=verdict)
    )
    repeats = state.said == up
    turned = state.said is not None and not repeats
    turns = _next_turns(state.turns, turned=turned)
    turns_state = joint.status is not state.status
    first = said.time if joint.first is None else joint.first
    after = replace(
        state,
        status=joint.status,
        since=said.time if turns_state else state.since,
        streak=state.streak + 1 if repeats else 1,
        streak_since=state.streak_since if repeats else first,
        said=up,
        turns=turns,
        flapping=_flaps(turns, before=state.flapping),
        last=result,
        finished=result,
        recent=recent,
        failures=(result, *state.failures)[: depth.failures]
        if turns_state and not up
        else state.failures,
        counters=counters,
        joint=joint,
    )
    return after, Transition(before=state.status, after=joint.status) if turns_state else None


def down_by(joint: Joint) -> Verdict:
    """Return the verdict down, with the reason that most places give, and who says what."""
    told = [vote for vote in joint.votes if vote.counted and vote.state is Status.DOWN]
    reasons = Counter(vote.reason for vote in told if vote.reason is not None)
    # A place with a later version may send a reason that is not known here
    reason = reasons.most_common(1)[0][0] if reasons else Reason.PROTOCOL_ERROR
    message = next((vote.message for vote in told if vote.reason is reason and vote.message), "")
    who = explained(joint.votes)
    return Verdict(up=False, reason=reason, message=f"{message} ({who})" if message else who)


def _count_past(counters: Counters, past: Past, bounds: tuple[Seconds, ...]) -> Counters:
    if past.up is None:
        return replace(counters, errors=counters.errors + 1)
    return _counted(counters, past.duration, past.reason, bounds)


def resume(site: Site, known: Remembered, bounds: tuple[Seconds, ...], depth: Depth) -> SiteState:
    """
    Return the state with which a site continues after a restart.

    Gauges begin with the first check; a site that was left down shows why it is.
    """
    turns, flapping = known.turns, known.flapping
    for _ in range(min(known.repeats, _WATCHED)):
        turns = _next_turns(turns, turned=False)
        flapping = _flaps(turns, before=flapping)
    failures = known.failures[: depth.failures]
    shown = failures[0] if failures and known.said is False else None
    return SiteState(
        site=site,
        status=known.status,
        since=known.since,
        streak=known.streak + known.repeats,
        streak_since=known.streak_since,
        said=known.said,
        turns=turns,
        flapping=flapping,
        content=known.content if site.watch is not None else None,
        content_changed=known.content_changed if site.watch is not None else None,
        last=shown,
        finished=shown,
        recent=known.recent[: depth.results],
        failures=failures,
        counters=Counters(durations=(0,) * (len(bounds) + 1)),
    )


def _next_turns(turns: int, *, turned: bool) -> int:
    """Return the bits for flapping after one more finished check."""
    return (turns << 1 | turned) & ((1 << _WATCHED) - 1)


def _flaps(turns: int, *, before: bool) -> bool:
    """Return whether a site flaps, given whether it did before."""
    return turns.bit_count() > (_STEADY_UP_TO if before else _FLAPS_ABOVE)


def _sharing(before: Result | None, result: Result) -> Result:
    """Return the result with the previous result's certificates, if they are the same."""
    earlier, analysis = before.analysis if before else None, result.analysis
    if earlier is None or analysis is None or earlier.chain is analysis.chain:
        return result
    if earlier.chain != analysis.chain:
        return result
    return replace(result, analysis=replace(analysis, chain=earlier.chain))


def take_over(state: SiteState, site: Site) -> SiteState:
    """Return the state of a site that continues with the same series and other options."""
    if site.watch != state.site.watch:  # the content of another part cannot be compared
        state = replace(state, content=None, content_changed=None)
    return replace(state, site=site)


def skip(state: SiteState, cause: str, slots: int = 1) -> SiteState:
    """Return the state after skipped slots."""
    counters = state.counters
    return replace(
        state, counters=replace(counters, skipped=_increased(counters.skipped, cause, slots))
    )


def rebucket(
    state: SiteState, before: tuple[Seconds, ...], after: tuple[Seconds, ...]
) -> SiteState:
    """
    Return the state with its duration histogram counted for other bounds.

    If only the last bound changed, was added or removed, the counts are kept: it follows the
    largest timeout of all sites, and everything above the remaining bounds falls into one bucket.
    Entirely different bounds start at 0. Some examples, each with the result for counts (1, 2, 3):

        (1s, 10s) → (1s, 10s, 30s)    (1, 2, 3, 0)
        (1s, 10s) → (1s, 15s)         (1, 5, 0)
        (1s, 10s) → (1s,)             (1, 5)
        (1s, 10s) → (2s, 20s)         (0, 0, 0)
    """
    counters = state.counters
    kept = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    )
    if kept < max(len(before), len(after)) - 1:
        counters = replace(counters, duration_sum=0.0)
        durations: tuple[int, ...] = (0,) * (len(after) + 1)
    else:
        rest = (sum(counters.durations[kept:]), 0)[: len(after) + 1 - kept]
        durations = (*counters.durations[:kept], *rest)
    return replace(state, counters=replace(counters, durations=durations))


def awaits_confirmation(state: SiteState) -> bool:
    """Return whether the last result was down but the confirmed state is not down yet."""
    return state.said is False and state.status is not Status.DOWN


def _confirmed(state: SiteState, streak: int, *, up: bool) -> Status:
    confirm = state.site.confirm
    if up:
        recovered = state.status is Status.UNKNOWN or streak >= confirm.successes
        return Status.UP if recovered else state.status
    return Status.DOWN if streak >= confirm.failures else state.status


def _count(counters: Counters, result: Result, bounds: tuple[Seconds, ...]) -> Counters:
    reason = result.analysis.verdict.reason if result.analysis else None
    return _counted(counters, result.observation.duration, reason, bounds)


def _counted(
    counters: Counters, duration: Seconds, reason: Reason | None, bounds: tuple[Seconds, ...]
) -> Counters:
    bucket = bisect_left(bounds, duration)
    durations = counters.durations
    return Counters(
        checks=counters.checks + 1,
        failures=_increased(counters.failures, reason) if reason else counters.failures,
        errors=counters.errors,
        skipped=counters.skipped,
        durations=(*durations[:bucket], durations[bucket] + 1, *durations[bucket + 1 :]),
        duration_sum=counters.duration_sum + duration,
    )


def _increased(counts: Mapping[_Key, int], key: _Key, by: int = 1) -> dict[_Key, int]:
    return {**counts, key: counts.get(key, 0) + by}
