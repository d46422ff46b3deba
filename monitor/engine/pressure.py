"""
Whether the process has more to do than it gets processor time for.

Threads queue for the interpreter then, and each check more makes all that are under way slower,
until they look slow, or even down, though their sites are not. So the engine asks here before it
lets in more checks than it has seen finished.
"""

from monitor.clock import Clock
from monitor.model import Seconds

_LATE: Seconds = 0.025
"""A check that waits so much longer than its slot, though there are threads, is a first sign."""
_PAUSE: Seconds = 0.0002
"""Long enough for others to take the interpreter, if there are any."""
_LONG: Seconds = 0.005
"""A thread that lets go of the interpreter has it back sooner, unless others queue for it."""


def is_high(clock: Clock, waited: Seconds) -> bool:
    """
    Return whether no further check should be let in; takes up to some milliseconds if so.

    Args:
        waited: The longest that a check had been due, of the first in line and those that ended.
    """
    if waited <= _LATE:
        return False
    let_go = clock.monotonic()
    clock.sleep(_PAUSE)
    return clock.monotonic() - let_go > _LONG
