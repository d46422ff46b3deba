"""
The two queues in which checks wait for a thread. Pure.

Sites whose last check was down and slow wait in a separate line and get at most half of the
threads: however many sites hang until their timeout, the others have the other half.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto

from monitor.engine.threads import Visit
from monitor.model import Observation, Result, Seconds, Site


class Stage(Enum):
    """The stage that a check has reached; see Engine."""

    WAITING = auto()
    PROBING = auto()
    ANALYSING = auto()
    HELD = auto()


@dataclass(slots=True)
class Check:
    """
    A running check, from the moment it is due until it is recorded.

    Attributes:
        due: On the monotonic clock.
        slow: Whether it waits in the slow line.
        visit: Its entry in the thread pool; None while it waits for a thread.
        began: When its thread began, on the monotonic clock.
        seen: What the probe returned, body included, while the rest is judged elsewhere.
        reply: Receives the result of a check on demand, whose site is not listed.
    """

    site: Site
    due: Seconds
    stage: Stage = Stage.WAITING
    slow: bool = False
    visit: Visit | None = None
    began: Seconds = 0.0
    seen: Observation | None = None
    reply: "Future[Result] | None" = None


class Lines:
    """
    The mutable state is the two lines and how many slow checks have a thread; the engine's.

    A cancelled check stays in its line, and is skipped once it is first.

    Args:
        threads: How many threads there are; half of them, at least one, take slow checks.
        still_wanted: Whether a waiting check should still run.
    """

    def __init__(self, threads: int, still_wanted: Callable[[Check], bool]) -> None:
        self._most_slow = max(1, threads // 2)
        self._still_wanted = still_wanted
        self._healthy: deque[Check] = deque()
        self._slow: deque[Check] = deque()
        self._slow_probing = 0

    @property
    def waiting(self) -> int:
        """The length of the line of healthy sites."""
        return len(self._healthy)

    @property
    def waiting_slow(self) -> int:
        """The length of the slow line."""
        return len(self._slow)

    @property
    def slow_probing(self) -> int:
        """How many slow checks have a thread, or wait for their slot with one."""
        return self._slow_probing

    def join(self, check: Check) -> None:
        """Put a check at the end of its line."""
        (self._slow if check.slow else self._healthy).append(check)

    @property
    def open(self) -> list[deque[Check]]:
        """The lines from which a check may be taken now; all have at least one."""
        lines = (self._healthy, self._slow) if self._slow_may_enter else (self._healthy,)
        return [line for line in lines if line]

    @property
    def empty(self) -> bool:
        """Whether nothing waits in either line."""
        return not self._healthy and not self._slow

    def longest_due(self, now: Seconds) -> Seconds:
        """Return when the first check that may be taken was due; ``now`` if none may."""
        return min((line[0].due for line in self.open), default=now)

    def take(self) -> Check | None:
        """Return the check that gets the next thread; call leave() once it has ended."""
        line = self._healthy
        first = self._first(line)
        if self._slow and self._slow_may_enter:
            slow = self._first(self._slow)
            # The one that has been due longest, so that neither line has to wait for the other
            if slow is not None and (first is None or slow.due < first.due):
                line, first = self._slow, slow
        if first is not None:
            line.popleft()
            self._slow_probing += first.slow
        return first

    def leave(self, check: Check) -> None:
        """Record that a check no longer needs its thread."""
        self._slow_probing -= check.slow

    @property
    def _slow_may_enter(self) -> bool:
        return self._slow_probing < self._most_slow

    def _first(self, line: deque[Check]) -> Check | None:
        while line and not self._still_wanted(line[0]):
            line.popleft()
        return line[0] if line else None
