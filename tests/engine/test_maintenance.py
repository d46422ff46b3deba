"""When a maintenance window is open, across midnights and clock changes."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.engine.maintenance import Calendar, planned, stretch
from monitor.model import RecurringWindow, SingleWindow

BERLIN = ZoneInfo("Europe/Berlin")
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)


def weekly(start, end, *days, zone=BERLIN):
    return RecurringWindow(
        days=frozenset(days or range(7)),
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        zone=zone,
    )


def once(start, end, zone=BERLIN):
    return SingleWindow(
        start=datetime.fromisoformat(start), end=datetime.fromisoformat(end), zone=zone
    )


def at(text):
    """Return a moment from its ISO 8601 text; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def edges(windows, begin, end):
    """Return each change between two moments as text in UTC."""
    found: list[str] = []
    now, stop = at(begin), at(end)
    is_open = stretch(windows, now).open
    while True:
        until = stretch(windows, now).until
        if until is None or until >= stop:
            return found
        now = until
        if stretch(windows, now).open != is_open:
            is_open = not is_open
            found.append(datetime.fromtimestamp(now, UTC).strftime("%d %H:%M"))


@pytest.mark.parametrize(
    ("windows", "begin", "end", "expected"),
    [
        pytest.param(
            [weekly("22:00", "06:00", SAT)],
            "2026-11-20",
            "2026-11-30",
            ["21 21:00", "22 05:00", "28 21:00", "29 05:00"],
            id="over midnight, it belongs to the day it begins on",
        ),
        pytest.param(
            [weekly("12:00", "13:00", zone=ZoneInfo("UTC"))],
            "2026-11-20",
            "2026-11-22",
            ["20 12:00", "20 13:00", "21 12:00", "21 13:00"],
            id="daily",
        ),
        pytest.param(
            [weekly("00:00", "00:00", SAT, SUN)],
            "2026-11-20",
            "2026-11-25",
            ["20 23:00", "22 23:00"],
            id="whole days that follow each other are one",
        ),
        pytest.param(
            [weekly("00:00", "00:00")], "2026-11-20", "2026-12-31", [], id="always, no edge"
        ),
        pytest.param(
            [once("2026-12-01T22:00", "2026-12-02T02:00")],
            "2026-11-20",
            "2026-12-31",
            ["01 21:00", "02 01:00"],
            id="once",
        ),
        pytest.param(
            [
                weekly("10:00", "12:00", zone=ZoneInfo("UTC")),
                weekly("11:00", "13:00", zone=ZoneInfo("UTC")),
                weekly("13:00", "13:30", zone=ZoneInfo("UTC")),
                weekly("12:15", "12:30", zone=ZoneInfo("UTC")),
            ],
            "2026-11-20",
            "2026-11-21",
            ["20 10:00", "20 13:30"],
            id="overlapping and touching windows are one",
        ),
        # 2026-10-25 03:00 CEST is 02:00 CET; 2026-03-29 02:00 CET is 03:00 CEST
        pytest.param(
            [weekly("02:00", "03:00")],
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["25 00:00", "25 02:00"],
            id="put back: from the first 02:00 to the last 03:00",
        ),
        pytest.param(
            [weekly("01:30", "02:30")],
            "2026-03-28T12:00",
            "2026-03-29T12:00",
            ["29 00:30", "29 01:00"],
            id="put forward: until the jump",
        ),
        pytest.param(
            [weekly("02:30", "03:15")],
            "2026-03-28T12:00",
            "2026-03-29T12:00",
            ["29 01:00", "29 01:15"],
            id="put forward: from the jump",
        ),
        pytest.param(
            [weekly("02:15", "02:45", SUN)],
            "2026-03-28T12:00",
            "2026-04-05T12:00",
            ["05 00:15", "05 00:45"],
            id="put forward: jumped over, next week again",
        ),
        pytest.param(
            [weekly("22:00", "06:00")],
            "2026-10-24T12:00",
            "2026-10-25T12:00",
            ["24 20:00", "25 05:00"],
            id="put back: nine hours",
        ),
        pytest.param(
            [weekly("22:00", "06:00")],
            "2026-03-28T12:00",
            "2026-03-29T12:00",
            ["28 21:00", "29 04:00"],
            id="put forward: seven hours",
        ),
        pytest.param(
            [weekly("01:45", "02:15", zone=ZoneInfo("Australia/Lord_Howe"))],
            "2026-10-03T00:00",
            "2026-10-03T23:00",
            ["03 15:15", "03 15:30"],
            id="put forward by half an hour: until the jump from 02:00 to 02:30",
        ),
    ],
)
def test_windows(windows, begin, end, expected):
    """They open and close when clocks in their zone show it, with or without summer time."""
    assert edges(tuple(windows), begin, end) == expected


def test_without_windows_nothing_ever_changes():
    """The same holds after the last window that happens once."""
    assert not stretch((), at("2026-11-20")).open
    assert stretch((), at("2026-11-20")).until is None
    past = (once("2026-01-01T00:00", "2026-01-02T00:00"),)
    assert stretch(past, at("2026-11-20")).until is None


clocks = st.times().map(lambda one: one.replace(second=0, microsecond=0))
recurring = st.builds(
    RecurringWindow,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=clocks,
    end=clocks,
    zone=st.sampled_from(
        [BERLIN, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/St_Johns")]
    ),
)


@given(
    windows=st.lists(recurring, max_size=3).map(tuple),
    now=st.floats(at("2026-01-01"), at("2027-12-31")),
    share=st.floats(0, 0.999),
)
def test_a_window_is_open_while_a_clock_shows_a_time_in_it(windows, now, share):
    """Nothing changes between two edges, and without clock changes windows match the wall clock."""
    found = stretch(windows, now)
    if found.until is not None:
        assert found.until > now
        between = now + (found.until - now) * share
        assert stretch(windows, between).open == found.open
    if not any(_turns_near(window.zone, now) for window in windows):
        assert found.open == any(_shows(window, now) for window in windows)


def _turns_near(zone, now):
    days = [datetime.fromtimestamp(now + day * 86400, zone).utcoffset() for day in (-2, 0, 2)]
    return len(set(days)) > 1


def _shows(window, now):
    shown = datetime.fromtimestamp(now, window.zone)
    clock = shown.time()
    today = shown.weekday() in window.days
    yesterday = (shown - timedelta(days=1)).weekday() in window.days
    if window.start < window.end:
        return today and window.start <= clock < window.end
    return (today and clock >= window.start) or (yesterday and clock < window.end)


def test_the_calendar_yields_each_edge_once():
    """Sites are returned once their time has come, at most as many as asked for."""
    calendar = Calendar()
    windows = (weekly("12:00", "13:00", zone=ZoneInfo("UTC")),)
    for name in "abc":
        assert not calendar.put(name, windows, at("2026-11-20T11:00"))
    calendar.put("never", (), at("2026-11-20T11:00"))
    calendar.put("a", windows, at("2026-11-20T11:30"))  # once more, replacing the first
    calendar.remove("b")
    assert list(calendar.pop(at("2026-11-20T11:59:59"), at_most=9)) == []
    assert calendar.next_edge() == at("2026-11-20T12:00")
    noon = at("2026-11-20T12:00")
    first, second = calendar.pop(noon, at_most=1), calendar.pop(noon, at_most=9)
    assert [*first, *second] == [("a", True), ("c", True)]
    assert list(calendar.pop(at("2026-11-20T12:59:59"), at_most=9)) == []
    assert calendar.next_edge() == at("2026-11-20T13:00")
    assert dict(calendar.pop(at("2026-11-20T13:00"), at_most=9)) == {"a": False, "c": False}
    calendar.remove("a")
    calendar.remove("c")
    assert calendar.next_edge() is None


DAILY = (weekly("12:00", "13:00", zone=ZoneInfo("UTC")),)


def test_a_clock_that_is_set_back_has_every_site_looked_at_anew():
    """At most the requested number is returned at a time; windows long past open again."""
    calendar = Calendar()
    calendar.put("daily", DAILY, at("2036-05-01T12:30"))
    calendar.put("once", (once("2026-11-20T11:00", "2026-11-20T14:00"),), at("2036-05-01T12:30"))
    calendar.put("never", (), at("2036-05-01T12:30"))
    morning = at("2026-11-20T11:30")
    assert list(calendar.pop(morning, at_most=1)) == [("daily", False)]
    assert calendar.next_edge() == morning
    assert list(calendar.pop(morning + 1, at_most=9)) == [("once", True)]
    assert list(calendar.pop(morning + 2, at_most=9)) == []
    assert list(calendar.pop(at("2026-11-20T12:00"), at_most=9)) == [("daily", True)]


def test_a_clock_that_is_set_right_by_little_changes_nothing():
    """A step within a second is ignored, but many such steps in a row add up."""
    calendar = Calendar()
    noon = at("2026-11-20T12:00")
    calendar.put("a", DAILY, noon)
    for step in range(1, 11):
        assert list(calendar.pop(noon - step / 10, at_most=9)) == []
    assert list(calendar.pop(noon - 1.1, at_most=9)) == [("a", False)]


def test_a_clock_that_is_set_forward_is_noticed_within_a_minute():
    """It is noticed however far off the next edge is; the edge follows once its time is past."""
    calendar = Calendar()
    assert calendar.next_edge() is None
    calendar.put("a", DAILY, at("2026-11-20T02:00"))
    assert calendar.next_edge() == at("2026-11-20T02:01")
    assert list(calendar.pop(at("2026-11-20T12:15"), at_most=9)) == [("a", True)]
    assert calendar.next_edge() == at("2026-11-20T12:16")


def test_what_is_planned():
    """For each window it is the time that is open or comes next, however far ahead."""
    night, sunday = weekly("22:00", "23:00"), weekly("02:00", "03:00", SUN)
    far = once("2027-03-01T10:00", "2027-03-01T12:00")
    over = once("2026-01-01T10:00", "2026-01-01T12:00")
    windows = (far, over, sunday, night, night)

    def starts(now):
        return [
            datetime.fromtimestamp(begin, UTC).isoformat() for begin, _ in planned(windows, now)
        ]

    assert starts(at("2026-11-28T09:00")) == [
        "2026-11-28T21:00:00+00:00",
        "2026-11-29T01:00:00+00:00",
        "2027-03-01T09:00:00+00:00",
    ]
    assert starts(at("2026-11-28T21:30"))[0] == "2026-11-28T21:00:00+00:00"
    assert starts(at("2026-11-28T22:00"))[0] == "2026-11-29T01:00:00+00:00"
    assert planned((), at("2026-11-28T09:00")) == ()
