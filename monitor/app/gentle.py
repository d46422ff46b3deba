"""
Lets other threads get the interpreter soon while one of them computes for long.

Only loading a list computes for seconds: in that time the loop and each check need the interpreter
a dozen times, and at the usual interval they would get it too late.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from monitor.units import Seconds

_SWITCH_INTERVAL: Seconds = 0.0005
"""How long such work may hold the interpreter while other threads want it."""


class _Gentle:
    """The interval is the same for all threads; the state is how many of them want it short."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at_work = 0
        self._usual: Seconds = 0.0

    @contextmanager
    def work(self) -> Iterator[None]:
        """Let other threads get the interpreter soon as long as the block lasts."""
        with self._lock:
            if self._at_work == 0:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(_SWITCH_INTERVAL)
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if self._at_work == 0:
                    sys.setswitchinterval(self._usual)


interruptibly = _Gentle().work
