"""
Time: a monotonic clock for schedules and deadlines, the wall clock for people.

Both are passed as arguments, so that tests can use fake clocks.
"""

import time as _time
from typing import Protocol

from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


class Clock(Protocol):
    def monotonic(self) -> Seconds:
        """Return seconds that never go back; their zero has no meaning."""

    def time(self) -> Timestamp:
        """Return seconds since 1970 in UTC."""

    def sleep(self, seconds: Seconds) -> None:
        """Sleep for this long."""


class SystemClock:
    """The machine's clocks."""

    # Python's own functions, because each check reads a clock some twenty times
    monotonic = staticmethod(_time.monotonic)
    time = staticmethod(_time.time)
    sleep = staticmethod(_time.sleep)


@statically_frozen(frozen=True, slots=True)
class Deadline:
    """
    The moment by which all of a check must be over, however many steps it takes.

    Attributes:
        at: The moment, on the monotonic clock.
        timeout: The whole time that the site was given, for messages.
        clock: The clock to read.
    """

    at: Seconds
    timeout: Seconds
    clock: Clock

    @classmethod
    def after(cls, timeout: Seconds, clock: Clock) -> "Deadline":
        return cls(at=clock.monotonic() + timeout, timeout=timeout, clock=clock)

    def remaining(self) -> Seconds:
        """Return the time left, never less than 0."""
        return max(0.0, self.at - self.clock.monotonic())

    def milliseconds(self) -> int:
        """Return the time left for an interface where 0 means no limit; at least 1."""
        left = self.at - self.clock.monotonic()
        return int(left * 1000) or 1 if left > 0 else 1

    def passed(self) -> bool:
        return self.remaining() == 0.0
