"""When the process has more to do than it gets processor time for."""

from monitor.engine.pressure import is_high
from tests.fakes import FakeClock


def test_nobody_is_late():
    """While checks start on time nothing is measured, so it costs nothing."""
    clock = FakeClock()
    clock.overslept = 1.0
    before = clock.now
    assert not is_high(clock, 0.01)
    assert clock.now == before


def test_late_alone_is_no_pressure():
    """After a pause many checks are late, and all of them may start at once."""
    assert not is_high(FakeClock(), 60.0)


def test_whoever_waits_for_the_interpreter_is_under_pressure():
    """The time to get the interpreter back decides, separately at each measurement."""
    clock = FakeClock()
    for delay in (0.0, 0.02, 0.02, 0.0):
        clock.overslept = delay
        assert is_high(clock, 1.0) is (delay > 0)
