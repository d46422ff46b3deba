"""How the counted votes of several places become a site's state."""

import pytest

from monitor.engine.state import Depth, begin, down_by, join
from monitor.model import Joint, Past, Reason, Status, Vote
from tests.builders import site

BOUNDS = (0.1, 1.0)
DEPTH = Depth(results=5, failures=2)


def vote(location, reason=None, message="", *, counted=True, why_not=""):
    """Return a vote for down if there is a reason, otherwise for up."""
    return Vote(
        location=location,
        state=Status.DOWN if reason else Status.UP,
        since=0.0,
        reason=reason,
        message=message,
        counted=counted,
        why_not=why_not,
    )


FRA_DOWN = vote("fra", Reason.STATUS, "status 503 is not in 2xx")
NYC_UP = vote("nyc")
SIN_SILENT = vote("sin", counted=False, why_not="nothing is heard from it")


def joined(*joints, reported=True):
    """Return the state and its transitions after one count per second, the first at 1 s."""
    state = begin(site(), BOUNDS, now=0.0)
    transitions = []
    for time, joint in enumerate(joints, start=1):
        said = Past(time=float(time), duration=0.05, up=joint.status is Status.UP)
        state, transition = join(state, joint, said, BOUNDS, DEPTH, reported=reported)
        transitions.append(transition and (transition.before, transition.after))
    return state, transitions


UP = Joint(status=Status.UP, votes=(NYC_UP,))
DOWN = Joint(status=Status.DOWN, votes=(FRA_DOWN,), first=0.5)
NO_QUORUM = Joint(status=None, votes=(SIN_SILENT, FRA_DOWN))


def test_a_verdict_turns_the_state_once():
    """Only the count that changes the verdict brings a transition and restarts its time."""
    state, transitions = joined(UP, UP, DOWN, DOWN)
    assert transitions == [(Status.UNKNOWN, Status.UP), None, (Status.UP, Status.DOWN), None]
    assert (state.status, state.since, state.streak, state.said) == (Status.DOWN, 3.0, 2, False)


@pytest.mark.parametrize(("first", "since"), [(2.5, 2.5), (None, 3.0)], ids=["known", "unknown"])
def test_an_outage_starts_with_its_first_failure(first, since):
    """It starts with the failure that completed the quorum, or else at the time of the count."""
    state, _ = joined(UP, UP, Joint(status=Status.DOWN, votes=(FRA_DOWN,), first=first), DOWN)
    assert state.streak_since == since


@pytest.mark.parametrize(
    ("joint", "error"),
    [
        (NO_QUORUM, "too few votes: down from fra; sin has no vote: nothing is heard from it"),
        (Joint(status=None), "too few votes: no place has reported yet"),
        (
            Joint(status=Status.UNKNOWN, split=True, votes=(FRA_DOWN, NYC_UP)),
            "the votes are split: down from fra; up from nyc",
        ),
    ],
    ids=["few", "none", "split"],
)
def test_without_a_verdict_the_state_stays(joint, error):
    """The site is shown as unknown with the reason; no turn is counted or reported."""
    before, _ = joined(UP)
    state, transitions = joined(UP, joint)
    assert transitions[1] is None
    assert (state.status, state.since, state.streak) == (before.status, before.since, before.streak)
    assert (state.shown, state.last and state.last.error) == (Status.UNKNOWN, error)
    assert state.joint == joint


def test_only_a_report_counts_as_a_check():
    """A count that only passing time causes adds to the recent results, but to no counter."""
    for joint in (UP, NO_QUORUM):
        state, _ = joined(joint, reported=False)
        assert (state.counters.checks, len(state.recent)) == (0, 1)
        state, _ = joined(joint)
        assert (state.counters.checks, len(state.recent)) == (1, 1)


def test_an_outage_is_one_failure():
    """It is kept when the verdict turns to down, however often places report it afterwards."""
    state, _ = joined(DOWN, DOWN, UP, DOWN)
    assert [one.observation.time for one in state.failures] == [4.0, 1.0]


@pytest.mark.parametrize(("turns", "flaps"), [(5, False), (6, True)])
def test_a_joint_verdict_flaps_as_any_other(turns, flaps):
    """The sixth turn starts flapping; the very first verdict is not a turn."""
    state, _ = joined(*((UP, DOWN) * 4)[: turns + 1])
    assert state.flapping is flaps


@pytest.mark.parametrize(
    ("votes", "reason", "message"),
    [
        ((FRA_DOWN,), Reason.STATUS, "status 503 is not in 2xx (down from fra)"),
        ((vote("fra", Reason.STATUS),), Reason.STATUS, "down from fra"),
        (
            (
                vote("ams", Reason.BODY, "body does not match"),
                vote("fra", Reason.STATUS, "status 503"),
                vote("sin", Reason.STATUS, "status 502"),
            ),
            Reason.STATUS,
            "status 503 (down from ams, fra, sin)",
        ),
        (
            (
                vote("ams", Reason.BODY, "late", counted=False, why_not="it is late"),
                vote("fra", Reason.BODY, "late", counted=False, why_not="it is late"),
                vote("sin", Reason.STATUS, "status 503"),
            ),
            Reason.STATUS,
            "status 503 (down from sin; ams has no vote: it is late; fra has no vote: it is late)",
        ),
        ((NYC_UP,), Reason.PROTOCOL_ERROR, "up from nyc"),
    ],
    ids=["one", "silent", "most", "uncounted", "unknown-reason"],
)
def test_the_reason_that_most_places_give(votes, reason, message):
    """Its first message is shown with it; votes that do not count are ignored."""
    verdict = down_by(Joint(status=Status.DOWN, votes=votes))
    assert (verdict.up, verdict.reason, verdict.message) == (False, reason, message)
