"""Availability, compared with a reference that looks at every second by itself."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.history.uptime import (
    DAY,
    HOUR,
    SECOND,
    Stretch,
    Sums,
    clipped,
    compose,
    outages,
    tally,
    with_gaps,
)
from monitor.past import Condition

LONGEST = 60

LETTERS = {
    "u": Condition.UP,
    "d": Condition.DOWN,
    "?": Condition.UNKNOWN,
    "m": Condition.MAINTENANCE,
    ".": Condition.UNOBSERVED,
}


def stretches(seconds: str) -> list[Stretch]:
    """Return the track drawn by a row of letters, one per second; a dot is nothing."""
    found: list[Stretch] = []
    for second, letter in enumerate(seconds):
        begin, end = second * SECOND, (second + 1) * SECOND
        if letter == ".":
            continue
        if found and found[-1].end == begin and found[-1].condition is LETTERS[letter]:
            found[-1] = found[-1]._replace(end=end)
        else:
            found.append(Stretch(begin, end, LETTERS[letter]))
    return found


def drawn(spans: list[Stretch], length: int) -> str:
    row = ["."] * length
    letters = {condition: letter for letter, condition in LETTERS.items()}
    for one in spans:
        for second in range(one.begin // SECOND, one.end // SECOND):
            assert row[second] == ".", "stretches overlap"
            row[second] = letters[one.condition]
    return "".join(row)


def by_seconds(state: str, maintenance: str) -> str:
    """Compose the tracks in the naive way: second by second."""
    return "".join(
        "m" if over == "m" and under != "." else under
        for under, over in zip(state, maintenance, strict=True)
    )


def count_outages(row: str, begin: int, end: int) -> int:
    """Count the outages in a window, second by second."""
    outage = 0
    shown = set()
    down = False
    for second, letter in enumerate(row):
        if letter == "d":
            outage += not down
            down = True
            if begin <= second < end:
                shown.add(outage)
        elif letter in "u?":
            down = False
    return len(shown)


rows = st.integers(1, LONGEST).flatmap(
    lambda length: st.tuples(
        st.lists(st.tuples(st.sampled_from("ud?."), st.integers(1, 9)), min_size=length).map(
            lambda runs: "".join(letter * times for letter, times in runs)[:length]
        ),
        st.lists(st.tuples(st.sampled_from("m."), st.integers(1, 9)), min_size=length).map(
            lambda runs: "".join(letter * times for letter, times in runs)[:length]
        ),
    )
)
windows = st.tuples(st.integers(0, LONGEST), st.integers(0, LONGEST)).map(sorted)


@given(rows)
def test_maintenance_hides_the_state_and_nothing_else(tracks):
    """Second by second, composed tracks show what lies on top, in order and without overlap."""
    state, maintenance = tracks
    composed = compose(stretches(state), stretches(maintenance))
    assert drawn(composed, len(state)) == by_seconds(state, maintenance)
    assert composed == sorted(composed)


@given(rows, windows)
def test_sums_are_those_of_each_second(tracks, window):
    """A window's sums and outages equal those counted second by second."""
    state, maintenance = tracks
    begin, end = window
    row = by_seconds(state, maintenance)
    sums = tally(compose(stretches(state), stretches(maintenance)), begin * SECOND, end * SECOND)
    part = row[begin:end]
    assert (sums.up, sums.down, sums.maintenance, sums.unknown) == tuple(
        part.count(letter) * SECOND for letter in "udm?"
    )
    assert sums.outages == count_outages(row, begin, end)


@given(rows, st.lists(st.integers(0, LONGEST), min_size=1, max_size=8).map(sorted))
def test_adjacent_windows_add_up(tracks, cuts):
    """A window's sums equal those of its parts, however it is cut, so days can be stored."""
    state, maintenance = tracks
    spans = compose(stretches(state), stretches(maintenance))
    edges = [0, *(cut * SECOND for cut in cuts), LONGEST * SECOND]
    total = Sums()
    for begin, end in pairwise(edges):
        # Each part sees only its own spans and what the part before it has passed on
        own = [one.within(begin, end) for one in spans if one.begin < end and one.end > begin]
        total = total.then(tally(own, begin, end, was_down=total.was_down))
    assert total == tally(spans, 0, LONGEST * SECOND)


@given(rows)
def test_outages_are_counted_as_they_are_listed(tracks):
    """Each listed outage begins and ends in down time, and as many are listed as counted."""
    state, maintenance = tracks
    spans = compose(stretches(state), stretches(maintenance))
    listed = outages(spans)
    assert len(listed) == tally(spans, 0, LONGEST * SECOND).outages
    row = by_seconds(state, maintenance)
    for one in listed:
        inside = row[one.begin // SECOND : one.end // SECOND]
        assert inside[0] == inside[-1] == "d"
        assert not set(inside) & {"u", "?"}


@given(rows, windows)
def test_what_was_not_observed_is_a_stretch_too(tracks, window):
    """With its gaps filled, a window is covered without a hole."""
    state, _ = tracks
    begin, end = (edge * SECOND for edge in window)
    at = begin
    for one in with_gaps(stretches(state), begin, end):
        assert one.begin == at
        at = one.end
    assert end in (at, begin)


@pytest.mark.parametrize(
    ("begin", "end", "parts"),
    [
        (0, 8, [".", "uu", "d", "..", "u", "."]),
        (2, 4, ["u", "d"]),
        (1, 3, ["uu"]),
        (4, 6, [".."]),
        (6, 7, ["u"]),
        (7, 9, [".."]),
        (3, 3, []),
    ],
)
def test_a_window_is_covered_exactly(begin, end, parts):
    """Spans outside it or only touching it are excluded, and none has length zero."""
    track = stretches(".uud..u.")
    found = with_gaps(track, begin * SECOND, end * SECOND)
    assert [drawn([one], 9)[one.begin // SECOND : one.end // SECOND] for one in found] == parts
    at = begin
    for one, part in zip(found, parts, strict=True):
        assert (one.begin, one.end) == (at * SECOND, (at + len(part)) * SECOND)
        at += len(part)
    seen = [one for one in found if one.condition is not Condition.UNOBSERVED]
    assert list(clipped(track, begin * SECOND, end * SECOND)) == seen


@pytest.mark.parametrize(
    ("row", "begin", "end", "was_down", "begun", "continued", "ends_down"),
    [
        ("uddu", 0, 4, False, 1, False, False),
        ("uddu", 2, 4, False, 0, True, False),  # cut in its middle
        ("uddu", 0, 3, False, 1, False, True),
        ("uddu", 3, 4, False, 0, False, False),  # it ended as the window began
        ("uddu", 0, 1, False, 0, False, False),  # it began as the window ended
        ("dud", 0, 3, True, 1, True, True),
        ("dmd", 1, 3, False, 0, True, True),
        ("ud.d", 3, 4, False, 0, True, True),
        ("dudud", 1, 5, False, 2, False, True),
    ],
)
def test_outages_that_began_before_the_window(
    row, begin, end, was_down, begun, continued, ends_down
):
    """They are distinguished from those that began in it, so that adjacent windows add up."""
    sums = tally(stretches(row), begin * SECOND, end * SECOND, was_down=was_down)
    assert (sums.begun, sums.continued, sums.was_down) == (begun, continued, ends_down)


def test_an_outage_has_its_first_reason_and_its_last_moment():
    """Maintenance and restarts within it are part of it; up or unknown ends it."""
    spans = [
        Stretch(0, 1000, Condition.UP),
        Stretch(1000, 2000, Condition.DOWN, "status", "503"),
        Stretch(2000, 3000, Condition.MAINTENANCE),
        Stretch(5000, 6000, Condition.DOWN, "tls", "expired"),
        Stretch(6000, 7000, Condition.UNKNOWN),
        Stretch(7000, 8000, Condition.DOWN, "dns", "no name"),
    ]
    assert outages(spans) == [
        Stretch(1000, 6000, Condition.DOWN, "status", "503"),
        Stretch(7000, 8000, Condition.DOWN, "dns", "no name"),
    ]


def test_times_are_milliseconds_and_uptime_is_in_seconds():
    """An hour of up is 3600 s of a window of one day."""
    assert (SECOND, HOUR, DAY) == (1000, 3600 * SECOND, 24 * HOUR)
    uptime = tally([Stretch(0, HOUR, Condition.UP)], 0, DAY).uptime(DAY)
    assert (uptime.window, uptime.up, uptime.ratio) == (86400.0, 3600.0, 1.0)


def test_the_example_of_the_module_is_true():
    """10 s of 12 are up, and 12 of 16 are observed; maintenance does not split an outage."""
    spans = compose(stretches("uuuudddduu..uuuu"), stretches(".....mm........."))
    assert drawn(spans, 16) == "uuuudmmduu..uuuu"
    uptime = tally(spans, 0, 16 * SECOND).uptime(16 * SECOND)
    assert (uptime.up, uptime.down, uptime.outages) == (10.0, 2.0, 1)


def test_without_observation_there_is_no_ratio():
    """A window that no monitor observed is not 100 %."""
    uptime = tally([], 0, 10 * SECOND).uptime(10 * SECOND)
    assert uptime.ratio is None
    assert uptime.coverage == 0.0
