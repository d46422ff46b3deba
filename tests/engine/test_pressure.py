"""When the process has more to do than it gets processor time for."""

import pytest

from monitor.engine.pressure import Pressure
from tests.fakes import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def turns():
    return []


@pytest.fixture
def pressure(clock, turns):
    return Pressure(clock, turns.append)


def test_nobody_is_late(clock, pressure):
    """While checks start on time nothing is measured, so that it costs nothing."""
    clock.overslept = 1.0
    before = clock.now
    assert not pressure.measure(0.01)
    assert clock.now == before


def test_late_alone_is_no_pressure(pressure):
    """After a pause many checks are late, and all may start at once."""
    assert not pressure.measure(60.0)


def test_pressure_turns_and_is_told_once(clock, pressure, turns):
    """Whoever listens hears of each turn, not of each measurement."""
    for delay in (0.0, 0.02, 0.02, 0.0, 0.0):
        clock.overslept = delay
        assert pressure.measure(1.0) is (delay > 0)
    assert turns == [True, False]


def test_pressure_ends_when_nobody_waits_any_more(clock, pressure, turns):
    """An empty line is the end of it."""
    clock.overslept = 0.02
    assert pressure.measure(1.0)
    assert not pressure.measure(0.0)
    assert turns == [True, False]
