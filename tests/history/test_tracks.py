"""The spans that a site's states become, drawn with one letter per second."""

from itertools import groupby

import pytest

from monitor.engine.state import Depth, advance, begin
from monitor.history.schema import MAINTENANCE_TRACK, STATE_TRACK
from monitor.history.tracks import Row, Tracks, filled, latest
from monitor.model import Confirm
from monitor.past import Condition
from tests.builders import down_result, error_result, site, up_result

BOUNDS = (1.0,)
DEPTH = Depth(results=5, failures=2)
RESULTS = {".": up_result, "x": down_result, "!": error_result}
LETTERS = {
    "u": Condition.UP,
    "d": Condition.DOWN,
    "?": Condition.UNKNOWN,
    "m": Condition.MAINTENANCE,
}


def drawn(rows, length):
    """Return what the store holds once these rows are written one after the other."""
    letters = {condition: letter for letter, condition in LETTERS.items()}
    seconds = [" "] * length
    for row in latest(rows).values():
        end = length * 1000 if row.end is None else row.end
        for second in range(row.begin // 1000, end // 1000):
            assert seconds[second] == " ", "spans overlap"
            seconds[second] = letters[row.condition]
    return "".join(seconds)


def spans(picture, *, lasts=False):
    """Return the rows of a picture; the last one may have no end."""
    found, at = [], 0
    for letter, run in groupby(picture):
        end = at + len(list(run)) * 1000
        if letter != " ":
            found.append(Row(STATE_TRACK, at, end, LETTERS[letter]))
        at = end
    return [*found[:-1], found[-1]._replace(end=None)] if lasts else found


def told(results, **confirm):
    """Return the tracks and rows of one result per second; a blank is a second with no monitor."""
    state = begin(site(confirm=Confirm(**confirm)), BOUNDS, now=0.0)
    tracks, rows = Tracks(), []
    for second, letter in enumerate(results):
        if letter == " ":
            rows += tracks.on_gap(second * 1000)
            continue
        state, _ = advance(state, RESULTS[letter](state.site, time=float(second)), BOUNDS, DEPTH)
        rows += tracks.on_result(state, second * 1000)
    return tracks, rows


@pytest.mark.parametrize(
    ("results", "confirmed"),
    [
        ("..xxx..", "uuddduu"),
        ("..x!xx", "uudddd"),
        ("..x  xx", "uud  dd"),
        ("..x..xx", "uuuuudd"),  # one failure is not an outage
        ("..x!..", "uuu?uu"),
        ("xx..", "dduu"),
        ("x.xx", "?udd"),
        ("!!..", "??uu"),
        (".xx!x.", "udd?du"),
        (".x.!xx", "uuu?dd"),  # the success in between has settled the doubt
        (".x !xx", "ud ddd"),
        ("xx  .", "dd  u"),
    ],
)
def test_a_state_is_down_from_its_first_failure_on(results, confirmed):
    """Time since that failure is rewritten as down, except while no monitor ran."""
    _, rows = told(results, failures=2)
    assert drawn(rows, len(results)) == confirmed


def test_only_time_down_has_a_reason():
    """Each span of an outage has the reason and message of the failure that confirmed it."""
    _, rows = told("..x!xx..", failures=2)
    reasons = {(row.condition, row.reason, bool(row.message)) for row in latest(rows).values()}
    assert reasons == {(Condition.UP, None, False), (Condition.DOWN, "status", True)}


def test_nothing_is_written_while_nothing_changes():
    """A result that equals the one before adds no row."""
    _, rows = told("....")
    assert rows == [Row(STATE_TRACK, 0, None, Condition.UP)]


def test_a_clock_that_was_set_back_makes_no_span_end_before_it_begins():
    """The span becomes empty, which marks it for deletion."""
    tracks, _ = told(" .")
    state = begin(site(), BOUNDS, now=0.0)
    state, _ = advance(state, error_result(state.site, time=0.0), BOUNDS, DEPTH)
    ended, lasts = tracks.on_result(state, 400)
    assert (ended.begin, ended.end) == (1000, 1000)
    assert (lasts.begin, lasts.end) == (1000, None)
    tracks.on_maintenance(is_open=True, at=5000)
    ends = {row.track: row.end for row in tracks.on_gap(900)}
    assert ends == {STATE_TRACK: 1000, MAINTENANCE_TRACK: 5000}


def test_a_state_begins_no_earlier_than_an_earlier_life_ended():
    """A hub receives checks from before its start; spans that were closed stay closed."""
    state = begin(site(), BOUNDS, now=0.0)
    state, _ = advance(state, up_result(state.site, time=1.0), BOUNDS, DEPTH)
    (row,) = Tracks(closed=3000).on_result(state, 1000)
    assert row == Row(STATE_TRACK, 3000, None, Condition.UP)


def test_maintenance_is_a_track_of_its_own():
    """A row is written when a window opens and when it closes, and none in between."""
    tracks = Tracks()
    assert tracks.on_maintenance(is_open=False, at=500) == []
    opened = Row(MAINTENANCE_TRACK, 1000, None, Condition.MAINTENANCE)
    assert tracks.on_maintenance(is_open=True, at=1000) == [opened]
    assert tracks.on_maintenance(is_open=True, at=2000) == []
    assert tracks.on_maintenance(is_open=False, at=3000) == [opened._replace(end=3000)]
    assert tracks.on_maintenance(is_open=False, at=4000) == []
    tracks.on_maintenance(is_open=True, at=5000)
    assert tracks.on_maintenance(is_open=False, at=4500) == [opened._replace(begin=5000, end=5000)]


@pytest.mark.parametrize(
    ("stored", "wanted", "then"),
    [
        ("uu??uu", "dddddd", "uudduu"),
        ("uu  uu", "dddddd", "uudduu"),
        ("uu  uu", " dd   ", "uud uu"),
        ("u????u", "  dd  ", "u?dd?u"),
        ("u????u", " d  d ", "ud??du"),
        ("u????u", "dd  dd", "ud??du"),
        ("u????u", "      ", "u????u"),
        (" ??   ", "dddddd", " dd   "),  # before the first span and after the last nothing is known
        ("ud u?d", "uuuuuu", "uduuud"),
    ],
)
def test_what_is_known_later_fills_only_what_was_not_known(stored, wanted, then):
    """It fills unknown states and gaps between spans; known up or down stays."""
    rows = spans(stored)
    wanted_rows = spans(wanted) if wanted.strip() else []
    assert drawn([*rows, *filled(rows, wanted_rows)], len(stored)) == then


def test_what_lasts_may_begin_later_once_its_begin_is_known():
    """An open unknown state is cut where the wanted spans end, and continues from there."""
    tracks, rows = told("!!!!")
    written = filled(list(latest(rows).values()), spans("dd"))
    tracks.on_filled(written)
    assert drawn([*rows, *written], 4) == "dd??"
    assert tracks.state == Row(STATE_TRACK, 2000, None, Condition.UNKNOWN)
