"""What the observer makes of what a probe saw; the probe is a fake."""

import pytest

from monitor.clock import SystemClock
from monitor.errors import ProbeError
from monitor.model import Failure, Observation, Reason, Site
from monitor.probes.observe import Observer

TIMED_OUT = Failure(Reason.READ_TIMEOUT, "no answer from 127.0.0.1:1 within 10s")


def check(duration: float, failure: Failure | None) -> Observation:
    """Return what is seen of a check with a timeout of 10 s that took so long."""
    observe = Observer(
        {"http": lambda _, __: Observation(time=0.0, duration=duration, failure=failure)},
        SystemClock(),
    )
    url = "http://127.0.0.1:1/"
    return observe(Site(name="site", url=url, target=url, scheme="http", timeout=10.0))


@pytest.mark.parametrize("failure", [TIMED_OUT, None])
def test_a_check_during_which_the_process_did_not_run_is_our_own_error(failure):
    """A paused container is no timeout of the site, and what it took is none of its latency."""
    with pytest.raises(ProbeError) as raised:
        check(72.5, failure)
    assert str(raised.value) == ("the monitor was paused: the check took 72.5s, its timeout is 10s")


def test_a_timeout_that_was_noticed_late_is_a_timeout():
    """Many that end at once wait for each other, each already over by the transport's timers."""
    assert check(11.5, TIMED_OUT).failure == TIMED_OUT
