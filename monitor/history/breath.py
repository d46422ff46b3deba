"""How the writer's thread leaves the interpreter to the threads that check sites."""

import time
from collections.abc import Callable
from typing import TypeAlias

from monitor.units import Seconds

_STRETCH: Seconds = 0.0002
"""The processor time after which others get the interpreter: a check that begins or ends in this
time waits that long, and looks that much too late or too long."""
_PAUSE: Seconds = 0.0005
"""Long enough for a thread to wake up and take the interpreter. Statements release it, too, but for
so short a time that this thread has it back before another one is awake."""

Breathe: TypeAlias = Callable[[], None]
"""Called in long work wherever it may pause."""


class Breath:
    """
    Counts how long one thread has computed, and pauses it after each stretch.

    Args:
        used: Returns the processor time that the calling thread has used.
    """

    def __init__(
        self,
        used: Callable[[], Seconds] = time.thread_time,
        sleep: Callable[[Seconds], None] = time.sleep,
    ) -> None:
        self._used = used
        self._sleep = sleep
        self._paused_at: Seconds = 0.0

    def __call__(self) -> None:
        """Pause if a stretch is over."""
        if self._used() - self._paused_at >= _STRETCH:
            self.pause()

    def pause(self) -> None:
        self._sleep(_PAUSE)
        self._paused_at = self._used()
