"""How the votes of several places become one verdict."""

import pytest

from monitor.locations.votes import Enough, Quorum, count, parse_enough, take
from monitor.model import Reason, Status, explained
from monitor.places import Sender
from tests.locations.reports import NOW, ballot, report

TWO = Quorum(down=Enough(number=2), up=Enough(number=2), minimum=2)
MAJORITY = Quorum(minimum=2)
STALE = 190.0


def joined(said: str, quorum: Quorum = TWO, before: Status = Status.UP, silent=()):
    """Join ``down up stale``: one word for each place, in the order of their names."""
    ballots = {}
    for number, word in enumerate(said.split()):
        name = f"p{number}"
        old = word.startswith("stale")
        time = NOW - STALE - 1 if old else NOW
        ballots[name] = ballot("down" if old else word, time, name)
    return count(ballots, quorum, before, NOW, STALE, silent)


@pytest.mark.parametrize(
    ("said", "quorum", "before", "verdict", "split"),
    [
        ("down down up", TWO, "up", "down", False),
        ("down up up", TWO, "up", "up", False),
        ("down up up", TWO, "down", "up", False),
        ("down up stale", TWO, "up", "up", True),
        ("down up stale", TWO, "down", "down", True),
        ("down stale stale", TWO, "up", None, False),
        ("stale stale stale", TWO, "up", None, False),
        ("down down up up", TWO, "up", "down", False),  # down goes first
        ("down connection connection", TWO, "up", None, False),
        ("down error up", TWO, "up", "up", True),
        ("up unknown", TWO, "unknown", None, False),
        ("up down", MAJORITY, "unknown", "unknown", True),
        ("up up", MAJORITY, "unknown", "up", False),
        ("down down up up", MAJORITY, "up", "up", True),
        ("down down down up up", MAJORITY, "up", "down", False),
        ("down down down up", Quorum(down=parse_enough("all")), "up", "up", True),
        ("down down down", Quorum(down=parse_enough("all")), "up", "down", False),
        ("down up up up", Quorum(down=parse_enough("any")), "up", "down", False),
        ("down down up up up", Quorum(down=parse_enough("40%")), "up", "down", False),
        ("down up up up up", Quorum(down=parse_enough("40%")), "up", "up", False),
        ("down", Quorum(), "up", "down", False),  # shards alone: the one that has the site decides
        ("", TWO, "up", None, False),
    ],
)
def test_votes_become_a_verdict(said, quorum, before, verdict, split):
    """Enough downs decide, else enough ups, else nothing changes; too few votes mean unknown."""
    joint = joined(said, quorum, Status(before))
    assert (joint.status, joint.split) == (verdict and Status(verdict), split)


def test_every_place_is_explained():
    """A person can read which place says what, and why a place has no vote."""
    joint = joined("down down up connection error stale unknown", silent={Sender("p2")})
    assert explained(joint.votes) == (
        "down from p0, p1; p2 has no vote: nothing is heard from it; "
        "p3 has no vote: its own connection is lost; "
        "p4 has no vote: it could not check: status 503 is not in 2xx; "
        "p5 has no vote: its last report is too old; "
        "p6 has no vote: it has not settled a state yet"
    )
    assert [vote.counted for vote in joint.votes] == [True, True, *[False] * 5]
    assert joint.votes[0].reason is Reason.STATUS


def test_an_outage_begins_with_the_failure_that_made_the_quorum():
    """One place that sees a site down for an hour makes no outage of one hour."""
    ballots = {
        "fra": ballot("down", location="fra", first=NOW - 3600),
        "nyc": ballot("down", location="nyc", first=NOW - 20),
        "sin": ballot("down", location="sin", first=NOW - 5),
    }
    assert count(ballots, TWO, Status.UP, NOW, STALE).first == NOW - 20
    with_one_up = ballots | {"ams": ballot("up", location="ams")}
    assert count(with_one_up, MAJORITY, Status.UP, NOW, STALE).first == NOW - 5
    assert count({}, TWO, Status.DOWN, NOW, STALE).first is None


def test_an_outage_may_begin_with_the_last_failure_that_is_needed():
    """With just enough votes it begins with the newest; without a verdict there is no outage."""
    ballots = {
        "fra": ballot("down", location="fra", first=NOW - 20),
        "nyc": ballot("down", location="nyc", first=NOW - 5),
    }
    assert count(ballots, TWO, Status.UP, NOW, STALE).first == NOW - 5
    three = Quorum(down=Enough(number=1), minimum=3)
    assert count(ballots, three, Status.UP, NOW, STALE).first is None


def test_a_vote_expires_with_the_first_that_becomes_stale():
    """Until then only a report can change the verdict; the order of places does not matter."""
    for ages in ((50, 0), (0, 50)):
        ballots = {str(place): ballot(time=NOW - age) for place, age in enumerate(ages)}
        assert count(ballots, TWO, Status.UP, NOW, STALE).expires == NOW - 50 + STALE
    assert joined("stale").expires is None


@pytest.mark.parametrize(("age", "counted"), [(STALE, True), (STALE + 0.001, False)])
def test_a_report_is_stale_once_it_is_older_than_allowed(age, counted):
    """At exactly that age it still counts."""
    (vote,) = count({"fra": ballot(time=NOW - age)}, TWO, Status.UP, NOW, STALE).votes
    assert vote.counted is counted


def test_how_old_a_report_may_be():
    """By default it is three missed intervals plus the time that the check itself may take."""
    assert Quorum().stale_after(interval=60.0, timeout=10.0) == 190.0
    assert Quorum(stale=1).stale_after(interval=20.0, timeout=5.0) == 25.0


def test_a_clock_that_is_ahead_is_taken_into_account():
    """A vote's times are on the hub's clock; a report that is not newer changes nothing."""
    said = take(report("down", NOW + 300), Sender("fra"), 300.0, None)
    assert said is not None
    assert (said.time, said.since, said.first) == (NOW, NOW, NOW)
    assert take(report("up", NOW + 300), Sender("fra"), 300.0, said) is None
    assert take(report("up", NOW + 299), Sender("fra"), 300.0, said) is None
    newer = take(report("up", NOW + 301), Sender("fra"), 300.0, said)
    assert newer is not None
    assert (newer.time, newer.status, newer.first) == (NOW + 1, Status.UP, None)


@pytest.mark.parametrize(
    ("text", "of_none", "of_one", "of_four", "of_five"),
    [
        ("2", 2, 2, 2, 2),
        ("majority", 1, 1, 3, 3),
        ("all", 1, 1, 4, 5),
        ("any", 1, 1, 1, 1),
        ("60%", 1, 1, 3, 3),
        ("1%", 1, 1, 1, 1),
        ("100%", 1, 1, 4, 5),
    ],
)
def test_forms_of_a_quorum(text, of_none, of_one, of_four, of_five):
    """Numbers stay, shares are rounded up, and none is ever less than one vote."""
    enough = parse_enough(text)
    assert [enough.of(voters) for voters in (0, 1, 4, 5)] == [of_none, of_one, of_four, of_five]


def test_a_share_of_many_voters_is_exact():
    """60 % of 200 are 120, not one more and not one less."""
    assert parse_enough("60%").of(200) == 120


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "most", "", "2.5", "1000"])
def test_what_is_no_quorum_is_refused(text):
    """The error says what may be written."""
    with pytest.raises(ValueError, match="is not a number of votes; write a number such as 2"):
        parse_enough(text)
