"""
How what computes for long lets others have the interpreter soon.

Reading lists computes for seconds, which nothing else does: the loop and each check want the
interpreter a dozen times meanwhile, and it would be taken away at the usual interval only.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from monitor.units import Seconds

_SWITCH_INTERVAL: Seconds = 0.0005
"""How long such work may hold the interpreter while others want it."""


class _Gentle:
    """The interpreter's interval is one for all threads; the state is how many want it short."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at_work = 0
        self._usual: Seconds = 0.0

    @contextmanager
    def work(self) -> Iterator[None]:
        """Let others have the interpreter soon for as long as the block lasts."""
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
