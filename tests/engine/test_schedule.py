"""The slots of a site are spread over the interval, and no two of its checks overlap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.engine.schedule import Schedule

WALL = 1_800_000_000.0


def slot_of(schedule: Schedule) -> float:
    """Return when the next slot is; there must be one."""
    moment = schedule.next_due()
    assert moment is not None
    return moment


def test_slots_are_spread_over_one_interval():
    """A thousand sites begin evenly over their interval, not all at once."""
    schedule = Schedule(WALL)
    for number in range(1000):
        schedule.add(f"site-{number}", 10.0, now=0.0)
    per_second = [len(schedule.pop_due(second + 1.0)) for second in range(10)]
    assert sum(per_second) == 1000
    assert all(60 < count < 140 for count in per_second)


def test_a_restart_keeps_the_slot():
    """Two processes with different monotonic clocks give a site the same slot in wall time."""
    before, after = Schedule(WALL), Schedule(WALL + 777.0)
    before.add("shop", 10.0, now=100.0)
    after.add("shop", 10.0, now=50.0)
    first = slot_of(before) + WALL
    second = slot_of(after) + WALL + 777.0
    assert (first - second) % 10.0 == pytest.approx(0.0, abs=1e-3) or (
        first - second
    ) % 10.0 == pytest.approx(10.0, abs=1e-3)


def test_the_grid_does_not_drift():
    """However late each slot is taken, the thousandth is where the first one implies."""
    schedule = Schedule(WALL)
    schedule.add("shop", 10.0, now=0.0)
    first = slot_of(schedule)
    for _ in range(1000):
        schedule.pop_due(slot_of(schedule) + 0.9)
    assert slot_of(schedule) == pytest.approx(first + 10_000.0)


def test_slots_nobody_looked_at_are_counted():
    """After a pause of the whole process the latest slot is run and the others are missed."""
    schedule = Schedule(WALL)
    schedule.add("shop", 10.0, now=0.0)
    first = slot_of(schedule)
    (due,) = schedule.pop_due(first + 35.0)
    assert due.missed == 3
    assert due.at == pytest.approx(first + 30.0)
    assert slot_of(schedule) == pytest.approx(first + 40.0)


def test_a_removed_site_is_never_due():
    """Entries in the heap for a removed site are passed over."""
    schedule = Schedule(WALL)
    schedule.add("shop", 10.0, now=0.0)
    schedule.remove("shop")
    assert schedule.next_due() is None
    assert schedule.pop_due(1000.0) == []


def test_the_rate_is_that_of_all_sites():
    """As sites come, change their interval and go, the rate is the sum of those listed."""
    schedule = Schedule(WALL)
    assert schedule.rate == 0.0
    schedule.add("shop", 10.0, now=0.0)
    schedule.add("shop", 5.0, now=0.0)
    schedule.add("blog", 10.0, now=0.0)
    assert schedule.rate == pytest.approx(0.3)
    schedule.remove("shop")
    schedule.remove("nobody")
    assert schedule.rate == pytest.approx(0.1)


def test_a_long_interval_begins_with_an_early_check():
    """A site with an hour to its slot is checked within the first minute, then on its grid."""
    schedule = Schedule(WALL)
    schedule.add("shop", 3600.0, now=0.0)
    schedule.add("db", 3600.0, now=0.0)
    early = schedule.pop_due(60.0)
    assert {due.name for due in early} == {"shop", "db"}
    for due in early:
        rest = schedule.pop_due(3600.0)
        assert due.extra or not rest


def test_an_early_check_leaves_the_grid_alone():
    """A re-check runs once, before the next slot, which stays where it was."""
    schedule = Schedule(WALL)
    schedule.add("shop", 10.0, now=0.0)
    slot = slot_of(schedule)
    schedule.check_early("shop", slot - 0.5)
    (due,) = schedule.pop_due(slot - 0.5)
    assert due.extra
    assert slot_of(schedule) == slot


def test_an_early_check_after_the_slot_is_dropped():
    """A re-check that would come later than the regular check is dropped."""
    schedule = Schedule(WALL)
    schedule.add("shop", 10.0, now=0.0)
    slot = slot_of(schedule)
    schedule.check_early("shop", slot + 1.0)
    assert [due.extra for due in schedule.pop_due(slot + 5.0)] == [False]


def test_others_cause_one_check_an_interval():
    """However often a place asks about a site, it may ask again only after the interval."""
    schedule = Schedule(WALL)
    schedule.add("shop", 100.0, now=0.0)
    slot = slot_of(schedule)
    checked = 0
    for second in range(95):
        schedule.check_for_another("shop", slot + 1.0 + second)
        checked += len(schedule.pop_due(slot + 1.0 + second))
    assert checked == 1
    schedule.check_for_another("shop", slot + 101.5)
    assert [due.extra for due in schedule.pop_due(slot + 101.5)] == [False]
    schedule.check_for_another("shop", slot + 101.6)
    assert not schedule.pop_due(slot + 101.6)
    schedule.check_for_another("nobody", slot)


def test_questions_about_many_sites_are_spread():
    """A place that sees all sites fail at once has them checked over a tenth of the interval."""
    schedule = Schedule(WALL)
    names = [f"s{number}" for number in range(1000)]
    for name in names:
        schedule.add(name, 100.0, now=0.0)
    now = 99.9  # all are due soon: only checks beside the slots count
    schedule.pop_due(now)
    for name in names:
        schedule.check_for_another(name, now)
    extra = [sum(due.extra for due in schedule.pop_due(now + step)) for step in range(12)]
    assert max(extra) <= 101
    assert sum(extra) > 900
    assert extra[11] == 0


@given(
    names=st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True),
    interval=st.floats(0.1, 5000.0),
    steps=st.lists(st.floats(0.0, 500.0), max_size=30),
)
def test_time_is_accounted_for_in_full(names, interval, steps):
    """Whatever the clock does, every slot is either due or missed, and counted once."""
    schedule = Schedule(WALL)
    for name in names:
        schedule.add(name, interval, now=0.0)
    now = 0.0
    slots = dict.fromkeys(names, 0)
    for step in steps:
        now += step
        for due in schedule.pop_due(now):
            assert due.at <= now
            if not due.extra:
                slots[due.name] += 1 + due.missed
    for name in names:
        assert abs(slots[name] - now / interval) <= 1.000001
