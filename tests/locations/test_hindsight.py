"""How late reports change the past: one row per minute, each place's report, and the verdict."""

from itertools import pairwise

import pytest

from monitor.app.places import hindsight_by
from monitor.locations.hindsight import Hindsight
from monitor.locations.votes import Enough, Quorum, take
from monitor.model import Reason, Status
from monitor.past import Condition
from monitor.places import Abstention, Report, Sender

MINUTE = 60.0
STALE = 3 * MINUTE + 10
STATUSES = {"u": Status.UP, "d": Status.DOWN}
LETTERS = {Condition.UP: "u", Condition.DOWN: "d"}


def report(letter, minute, first):
    """Return a place's report of a minute; ``c`` means it has lost its own connection."""
    time = minute * MINUTE
    return Report(
        site="shop",
        time=time,
        duration=0.1,
        up={"u": True, "d": False}.get(letter),
        reason=Reason.STATUS if letter == "d" else None,
        message="status 503 is not in 2xx" if letter == "d" else "",
        trouble=Abstention.CONNECTION if letter == "c" else None,
        status=STATUSES.get(letter, Status.UP),
        since=time,
        first=first * MINUTE if letter == "d" else None,
    )


def hear(hindsight, place, said):
    hindsight.heard("shop", take(said, Sender(place), 0.0, None))


def told(rows, late) -> Hindsight:
    hindsight = hindsight_by(Quorum(down=Enough(number=2), up=Enough(number=2), minimum=2))
    hindsight.listed("shop", STALE)
    for place, letters in rows.items():
        first = 0
        for minute, letter in enumerate(letters):
            if letter == ".":
                continue
            first = first if letter == "d" and letters[minute - 1] == "d" else minute
            hear(hindsight, place, report(letter, minute, first))
    for minute in late:
        hindsight.late("shop", minute * MINUTE, now=1000 * MINUTE)
    return hindsight


def drawn(spans, minutes):
    """Return each minute of the verdict as a letter: the state at its end."""
    row = ["?"] * minutes
    for span in spans:
        for minute in range(minutes):
            if span.begin <= minute * MINUTE + 59 < span.end:
                row[minute] = LETTERS[span.condition]
    return "".join(row)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        # Two of three see an outage that ends
        ({"fra": "uuudddduuuuu", "nyc": "uuuuddduuuuu", "sin": "uuuuuuuuuuuu"}, "uuuuddduuuuu"),
        # One alone does not turn the verdict
        ({"fra": "uuudddduuuuu", "nyc": "uuuuuuuuuuuu", "sin": "uuuuuuuuuuuu"}, "uuuuuuuuuuuu"),
        # Too few places had a vote: until the other's vote is stale, and after its return
        ({"fra": "uuuuuuuuuuuuuu", "nyc": "uu.........uuu"}, "uuuu???????uuu"),
        # A place that has lost its own connection has no vote
        ({"fra": "uuuuuuuu", "nyc": "uuccccuu"}, "uu????uu"),
        # Split before anything was known, then unchanged
        ({"fra": "uuuuuuu", "nyc": "ddduuud"}, "???uuuu"),
    ],
)
def test_votes_are_counted_again_with_what_came_late(rows, verdict):
    """Each place has one letter per minute; the verdict is what it would have been then."""
    minutes = len(verdict)
    hindsight = told(rows, late=(0, minutes - 1))
    [spans] = hindsight.settled(now=2000 * MINUTE)
    assert drawn(spans, minutes) == verdict
    assert all((one.end or 0) <= other.begin for one, other in pairwise(spans))
    assert not list(hindsight.settled(now=3000 * MINUTE))


def test_a_verdict_says_who_saw_what():
    """It says so as it would have then, from the first failure that completed the quorum."""
    hindsight = told({"fra": "uudd", "nyc": "uuud"}, late=(0, 3))
    [(up, down)] = hindsight.settled(now=2000 * MINUTE)
    assert (up.begin, up.end, down.begin) == (0.0, 3 * MINUTE, 3 * MINUTE)
    assert down.reason is Reason.STATUS
    assert down.message == "status 503 is not in 2xx (down from fra, nyc)"


def test_other_places_may_still_deliver():
    """The hub waits until five seconds after the last late report, and ignores removed sites."""
    hindsight = told({"fra": "uuu", "nyc": "uuu"}, late=(0,))
    assert not list(hindsight.settled(now=1000 * MINUTE + 4))
    hindsight.left(["shop"])
    assert not list(hindsight.settled(now=1000 * MINUTE + 6))


def test_what_is_read_again_changes_nothing():
    """A hub reads the last minutes again when it starts, with the same result."""
    rows = {"fra": "uuddduu", "nyc": "uuddduu"}
    hindsight = told(rows, late=(0, 6))
    for place, letters in rows.items():
        for minute, letter in enumerate(letters):
            hear(hindsight, place, report(letter, minute, 2))
    [spans] = hindsight.settled(now=2000 * MINUTE)
    assert drawn(spans, 7) == "uuddduu"


def test_a_site_that_flaps_for_days_is_remembered_within_bounds():
    """The last hundred reports of each place are kept, however many came before."""
    letters = "ud" * 2000
    hindsight = told({"fra": letters, "nyc": letters}, late=(0, 3999))
    [spans] = hindsight.settled(now=5000 * MINUTE)
    assert drawn(spans, 4000)[-100:] == letters[-100:]
    assert 100 <= len(spans) <= 200
