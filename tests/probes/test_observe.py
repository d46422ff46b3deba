"""What the observer makes of a probe's result; the probe is a fake."""

import pytest

from monitor.clock import SystemClock
from monitor.errors import ProbeError
from monitor.model import Failure, Observation, Reason, Site
from monitor.probes.observe import Observer

TIMED_OUT = Failure(Reason.READ_TIMEOUT, "no answer from 127.0.0.1:1 within 10s")


def check(duration: float, failure: Failure | None) -> Observation:
    """Return the observation of a check with a timeout of 10 s that took this long."""
    observe = Observer(
        {"http": lambda _, __: Observation(time=0.0, duration=duration, failure=failure)},
        SystemClock(),
    )
    url = "http://127.0.0.1:1/"
    return observe(Site(name="site", url=url, target=url, scheme="http", timeout=10.0))


@pytest.mark.parametrize("failure", [TIMED_OUT, None])
def test_a_check_during_which_the_process_did_not_run_is_our_own_error(failure):
    """If the monitor was paused, the site is not blamed for a timeout or a long duration."""
    with pytest.raises(ProbeError) as raised:
        check(72.5, failure)
    assert str(raised.value) == ("the monitor was paused: the check took 72.5s, its timeout is 10s")


def test_a_timeout_that_was_noticed_late_is_a_timeout():
    """Timeouts noticed late, as when many end at once, remain the transport's timeouts."""
    assert check(11.5, TIMED_OUT).failure == TIMED_OUT
