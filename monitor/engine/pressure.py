"""
Whether the process has more to do than it gets processor time for.

Threads queue for the interpreter then, and each check more makes all that are under way slower,
until they look slow, or even down, though their sites are not. So the engine asks here before it
lets in more checks than it has seen finished.
"""

from collections.abc import Callable

from monitor.clock import Clock
from monitor.model import Seconds

_LATE: Seconds = 0.025
"""A check that waits so much longer than its slot, though there are threads, is a first sign."""
_PAUSE: Seconds = 0.0002
"""Long enough for others to take the interpreter, if there are any."""
_LONG: Seconds = 0.005
"""Whoever lets go of the interpreter has it back sooner, unless threads queue for it."""


class Pressure:
    """
    The mutable state is ``is_high``, as it was last measured.

    Args:
        on_change: Is told when it turns.
    """

    def __init__(self, clock: Clock, on_change: Callable[[bool], None]) -> None:
        self.is_high = False
        self._clock = clock
        self._on_change = on_change

    def measure(self, waited: Seconds) -> bool:
        """
        Return whether no further check should be let in.

        Args:
            waited: How long the first check in line has been due.
        """
        is_high = False
        if waited > _LATE:
            let_go = self._clock.monotonic()
            self._clock.sleep(_PAUSE)
            is_high = self._clock.monotonic() - let_go > _LONG
        if is_high is not self.is_high:
            self.is_high = is_high
            self._on_change(is_high)
        return is_high
