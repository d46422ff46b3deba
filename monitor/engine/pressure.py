"""
Whether the process has more work than processor time.

Threads then queue for the interpreter, and each additional check slows down all running ones, until
they look slow, or even down, though their sites are not. So the engine asks here before it starts
more checks than have finished.
"""

from monitor.clock import Clock
from monitor.model import Seconds

_LATE: Seconds = 0.025
"""A check this late, although threads are free, is a first sign."""
_PAUSE: Seconds = 0.0002
"""Long enough for others to take the interpreter, if there are any."""
_LONG: Seconds = 0.005
"""A thread that releases the interpreter gets it back sooner, unless others queue for it."""


def is_high(clock: Clock, waited: Seconds) -> bool:
    """
    Return whether no further check should start; this takes up to some milliseconds if so.

    Args:
        waited: The longest delay after its slot, of the first check in line and of those that
        ended.
    """
    if waited <= _LATE:
        return False
    let_go = clock.monotonic()
    clock.sleep(_PAUSE)
    return clock.monotonic() - let_go > _LONG
