"""How results become a site's state: confirmation, streaks, and what is kept of them."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.engine.state import (
    Depth,
    advance,
    awaits_confirmation,
    begin,
    rebucket,
    resume,
    skip,
    take_over,
)
from monitor.model import (
    UP,
    Analysis,
    Certificate,
    Confirm,
    Content,
    Failure,
    Reason,
    Status,
    Verdict,
)
from monitor.past import Remembered
from tests.builders import down_result, error_result, site, up_result

BOUNDS = (0.1, 1.0)
DEPTH = Depth(results=3, failures=2)
RESULTS = {"up": up_result, "down": down_result, "error": error_result}


def run(listed, outcomes):
    state = begin(listed, BOUNDS, now=0.0)
    transitions = []
    for number, outcome in enumerate(outcomes, start=1):
        state, transition = advance(
            state, RESULTS[outcome](listed, time=float(number)), BOUNDS, DEPTH
        )
        transitions.append(transition)
    return state, transitions


@pytest.mark.parametrize(
    ("confirm", "outcomes", "status", "since"),
    [
        (Confirm(), ["up"], Status.UP, 1.0),
        (Confirm(), ["down"], Status.DOWN, 1.0),
        (Confirm(), ["up", "down", "up"], Status.UP, 3.0),
        (Confirm(failures=2), ["up", "down"], Status.UP, 1.0),
        (Confirm(failures=2), ["up", "down", "down"], Status.DOWN, 3.0),
        (Confirm(failures=2), ["up", "down", "up", "down"], Status.UP, 1.0),
        (Confirm(failures=2), ["down"], Status.UNKNOWN, 0.0),
        (Confirm(failures=2), ["down", "down"], Status.DOWN, 2.0),
        (Confirm(successes=2), ["up"], Status.UP, 1.0),
        (Confirm(successes=2), ["down", "up"], Status.DOWN, 1.0),
        (Confirm(successes=2), ["down", "up", "up"], Status.UP, 3.0),
        (Confirm(failures=2), ["up", "down", "error", "down"], Status.DOWN, 4.0),
    ],
)
def test_confirmation(confirm, outcomes, status, since):
    """The state turns after as many equal results in a row as the site asks for, not before."""
    state, _ = run(site(confirm=confirm), outcomes)
    assert (state.status, state.since) == (status, since)


def test_a_transition_is_told_once():
    """Only the result that turns the state brings a transition."""
    _, transitions = run(site(), ["up", "up", "down", "down", "up"])
    turns = [(turn.before, turn.after) for turn in transitions if turn]
    assert turns == [
        (Status.UNKNOWN, Status.UP),
        (Status.UP, Status.DOWN),
        (Status.DOWN, Status.UP),
    ]


def test_an_error_of_ours_says_nothing_of_the_site():
    """It is counted separately and shown as unknown, and neither state nor gauges change."""
    state, _ = run(site(), ["up", "error"])
    assert state.status is Status.UP
    assert state.shown is Status.UNKNOWN
    assert state.finished is not None
    assert state.finished.up
    assert (state.counters.checks, state.counters.errors) == (1, 1)
    state, _ = advance(state, up_result(state.site), BOUNDS, DEPTH)
    assert state.shown is Status.UP


def test_what_is_kept_is_bounded_and_newest_first():
    """At most the configured number of results and failures is kept."""
    state, _ = run(site(), ["down", "up", "down", "down", "up"])
    assert [past.time for past in state.recent] == [5.0, 4.0, 3.0]
    assert [failure.observation.time for failure in state.failures] == [4.0, 3.0]


def test_counters_and_histogram():
    """Every finished check is counted once, in the bucket of its duration."""
    listed = site()
    state = begin(listed, BOUNDS, now=0.0)
    for duration in (0.05, 0.1, 0.5, 7.0):
        state, _ = advance(state, up_result(listed, duration=duration), BOUNDS, DEPTH)
    state, _ = advance(state, down_result(listed, duration=0.2), BOUNDS, DEPTH)
    counters = state.counters
    assert counters.durations == (2, 2, 1)
    assert counters.duration_sum == pytest.approx(7.85)
    assert counters.checks == 5
    assert counters.failures == {Reason.STATUS: 1}


def test_skipped_slots_are_counted_by_cause():
    """Each cause of a skipped slot has its own count."""
    state = skip(skip(begin(site(), BOUNDS, 0.0), "overrun"), "late", 3)
    assert state.counters.skipped == {"overrun": 1, "late": 3}


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        ((0.1, 1.0, 30.0), (1, 1, 1, 0)),
        ((0.1,), (1, 2)),
        ((0.1, 5.0), (1, 2, 0)),
        ((0.5,), (0, 0)),
    ],
    ids=["appended", "dropped", "moved", "others"],
)
def test_other_bounds(after, counts):
    """A longer timeout in the list adds a bucket and loses no count; other bounds start at 0."""
    listed = site()
    state = begin(listed, BOUNDS, now=0.0)
    for duration in (0.05, 0.5, 10.0):
        state, _ = advance(state, up_result(listed, duration=duration), BOUNDS, DEPTH)
    assert rebucket(state, BOUNDS, after).counters.durations == counts


@pytest.mark.parametrize(
    ("said", "shown"), [(False, Reason.STATUS), (True, None), (None, None)], ids=str
)
def test_what_a_restart_carries_on(said, shown):
    """Streak and past continue within configured bounds; only a site left down shows a result."""
    listed = site()
    failures = tuple(down_result(listed, time=time) for time in (9.0, 8.0, 7.0))
    known = Remembered(
        status=Status.DOWN,
        since=1.0,
        streak=2,
        streak_since=0.5,
        said=said,
        repeats=3,
        content="a",
        content_changed=4.0,
        failures=failures,
    )
    state = resume(listed, known, BOUNDS, DEPTH)
    assert (state.status, state.since, state.said) == (Status.DOWN, 1.0, said)
    assert (state.streak, state.streak_since) == (5, 0.5)
    assert state.failures == failures[:2]
    assert state.counters.durations == (0, 0, 0)
    assert (state.content, state.content_changed) == (None, None)  # nothing is watched any more
    watched = resume(site(watch="css: a"), known, BOUNDS, DEPTH)
    assert (watched.content, watched.content_changed) == ("a", 4.0)
    last = state.last.analysis.verdict.reason if state.last and state.last.analysis else None
    assert (last, state.finished) == (shown, state.last)


@pytest.mark.parametrize(("repeats", "flaps"), [(0, True), (16, True), (17, False), (1000, False)])
def test_checks_that_only_repeated_end_flapping(repeats, flaps):
    """Each repeated check that was not written in full counts as one without a turn."""
    before, _ = run(site(), ["up", "down"] * 3 + ["up"])
    assert before.flapping
    known = Remembered(
        status=before.status,
        since=before.since,
        said=before.said,
        turns=before.turns,
        flapping=before.flapping,
        repeats=repeats,
    )
    assert resume(site(), known, BOUNDS, DEPTH).flapping is flaps


@given(
    outcomes=st.lists(st.sampled_from(["up", "down", "error"]), max_size=40),
    failures=st.integers(1, 4),
    successes=st.integers(1, 4),
)
def test_the_state_is_what_the_last_results_support(outcomes, failures, successes):
    """Down needs that many failures in a row, up one success, whatever happens in between."""
    state, transitions = run(
        site(confirm=Confirm(failures=failures, successes=successes)), outcomes
    )
    told = [outcome for outcome in outcomes if outcome != "error"]
    for number, turn in enumerate(transitions, start=1):
        if turn is None:
            continue
        upto = [outcome for outcome in outcomes[:number] if outcome != "error"]
        if turn.after is Status.DOWN:
            assert upto[-failures:] == ["down"] * failures
        elif turn.before is Status.DOWN:
            assert upto[-successes:] == ["up"] * successes
        else:
            assert upto[-1] == "up"
    assert state.counters.checks == len(told)
    assert awaits_confirmation(state) == (
        bool(told) and told[-1] == "down" and state.status is not Status.DOWN
    )


def drawn(picture):
    return ["down" if one == "x" else "up" for one in picture]


@pytest.mark.parametrize(
    ("picture", "flaps"),
    [
        ("....................x....................", None),
        (".........xxxxx........xxxxxxx............", None),
        (".........................................", None),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", None),
        # the third return is result 16; the third turn, result 11, is left behind with the 31st
        ("......x...x...x..........................", (16, 31)),
        ("x.x.x.x.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", (7, 26)),
    ],
)
def test_flapping(picture, flaps):
    """It starts with the sixth turn of the last 20 results and ends with three or fewer."""
    outcomes = drawn(picture)
    flapping = [
        upto for upto in range(1, len(outcomes) + 1) if run(site(), outcomes[:upto])[0].flapping
    ]
    assert flapping == (list(range(*flaps)) if flaps else [])


def test_errors_and_confirmation_hide_no_flapping():
    """Raw results count, so a site flaps even if its failures are never confirmed."""
    state, turns = run(site(confirm=Confirm(failures=3)), ["up", "down", "error"] * 4)
    assert state.flapping
    assert state.status is Status.UP
    assert len([turn for turn in turns if turn]) == 1


@given(outcomes=st.lists(st.sampled_from(["up", "down", "error"]), max_size=80))
def test_flapping_is_what_the_last_results_support(outcomes):
    """With more than five turns in the last 20 it flaps, with three or fewer it never does."""
    state, _ = run(site(), outcomes)
    told = [outcome for outcome in outcomes if outcome != "error"]
    turns = sum(one != other for one, other in pairwise(told[-21:]))
    if turns > 5:
        assert state.flapping
    if turns <= 3:
        assert not state.flapping


@given(
    outcomes=st.lists(st.sampled_from(["up", "down", "error"]), max_size=20),
    maintenance=st.booleans(),
)
def test_what_is_shown_is_what_is_known(outcomes, maintenance):
    """Maintenance comes first, then unknown after an error, otherwise the confirmed state."""
    state, _ = run(site(), outcomes)
    state = replace(state, maintenance=maintenance)
    if maintenance:
        assert state.shown is Status.MAINTENANCE
    elif not outcomes or outcomes[-1] == "error":
        assert state.shown is Status.UNKNOWN
    else:
        assert state.shown == outcomes[-1]


def seeing(listed, contents, state=None):
    """Return the state after a check with each content; an exclamation mark is a failure."""
    state = state or begin(listed, BOUNDS, now=0.0)
    for number, content in enumerate(contents, start=1):
        analysis = None
        if content is not None:
            failure = Failure(Reason.BODY, "content changed")
            analysis = Analysis(
                verdict=Verdict.down(failure) if content.endswith("!") else UP,
                content=Content(sha256=content.strip("!") or None),
            )
        result = replace(up_result(listed, time=float(number)), analysis=analysis)
        state, _ = advance(state, result, BOUNDS, DEPTH)
    return state


@pytest.mark.parametrize(
    ("contents", "content", "changed"),
    [
        ([], None, None),
        (["a"], "a", None),
        (["a", "a"], "a", None),
        (["a", "b"], "b", 2.0),
        (["a", "b", "b"], "b", 2.0),
        (["a", "b!", "b"], "b", 2.0),
        (["a", "b", "a"], "a", 3.0),
        (["a", "", "a"], "a", None),
        (["a", None, "a"], "a", None),
        (["", "a"], "a", None),
    ],
)
def test_content_that_changes(contents, content, changed):
    """First or unreadable content does not count as a change; a failed check can show one."""
    state = seeing(site(), contents)
    assert (state.content, state.content_changed) == (content, changed)


def test_another_watch_has_nothing_to_compare_with():
    """A reload that watches another part starts over; any other change continues."""
    listed = site(watch="css: a")
    state = seeing(listed, ["a", "b"])
    same = take_over(state, replace(listed, interval=60.0))
    assert (same.content, same.content_changed, same.site.interval) == ("b", 2.0, 60.0)
    other = take_over(state, replace(listed, watch="css: b"))
    assert (other.content, other.content_changed) == (None, None)
    assert other.counters == state.counters


def test_equal_chains_are_kept_once():
    """Every check brings the same certificates, and memory holds them once."""

    def certificate():
        return Certificate(
            subject="CN=a",
            issuer="CN=b",
            names=("a",),
            serial="1",
            not_before=0.0,
            not_after=1.0,
            fingerprint="ab" * 32,
        )

    listed = site()
    state = begin(listed, BOUNDS, now=0.0)
    for number in range(2):
        result = down_result(listed, time=float(number))
        analysis = Analysis(
            verdict=Verdict.down(Failure(Reason.STATUS, "x")), chain=(certificate(),)
        )
        state, _ = advance(state, replace(result, analysis=analysis), BOUNDS, DEPTH)
    latest, before = (one.analysis.chain[0] for one in state.failures if one.analysis)
    assert latest is before
