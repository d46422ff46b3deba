"""The I/O threads: a ThreadPoolExecutor whose threads take one site after the other."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from queue import SimpleQueue
from threading import Lock
from typing import TypeAlias

from monitor.clock import Clock
from monitor.engine.events import Inbox, ProbeFinished
from monitor.errors import StartupError
from monitor.logs import fields
from monitor.model import Observation, Seconds, Site

_log = logging.getLogger(__name__)

_NEXT_TRY: Seconds = 1.0
"""The pause after the system refused a thread; the executor keeps a note of each refusal."""
_RETURN: Seconds = 0.005
"""A thread that has finished a visit comes back for the next within this time."""

Observe: TypeAlias = Callable[[Site], Observation]


@dataclass(slots=True, eq=False)
class Visit:
    """
    One check of a site, to begin at a given moment.

    Attributes:
        at: On the monotonic clock; a time in the past means at once.
        begun: Whether a thread works or has worked on it; it can then no longer be cancelled.
    """

    site: Site
    at: Seconds
    begun: bool = False
    called_off: bool = False


class ProbePool:
    """
    The I/O threads, which are started on demand, up to a limit.

    The executor does not get single checks: each task is a thread's whole life, which takes one
    visit after another. An executor's bookkeeping for each check, a future and three locks, costs
    more than libcurl does.

    Visits are submitted ahead of their time, and threads wait for that time themselves: a thread
    that comes back takes the next free visit, and sleeps until it begins. So a check costs one
    wake-up instead of two (of the main thread, and of the thread that gets the site), and starts
    as exactly as the system wakes the thread. If no thread came back in time, attend() sends one.

    The mutable state belongs to the main thread, except for the idle threads, the visits that
    nobody has taken, and which visits have begun or were cancelled; ``_lock`` guards these.
    """

    def __init__(self, threads: int, observe: Observe, *, inbox: Inbox, clock: Clock) -> None:
        self.threads = threads
        self._handed_in = 0  # visits that are neither finished nor cancelled
        self._begun = 0
        self._finished = 0
        self._observe = observe
        self._inbox = inbox
        self._clock = clock
        self._lock = Lock()
        self._idle: list[SimpleQueue[Visit | None]] = []
        self._untaken: list[tuple[Seconds, int, Visit]] = []  # a heap
        self._numbers = count()  # so that of two visits at the same moment the first comes first
        self._stopped = False
        self._alive = 0
        self._not_before: Seconds = 0.0  # no thread is sent earlier, after none was there
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="probe")

    def start(self) -> None:
        """
        Start the first thread; the others start on demand.

        While the system refuses more threads, this one still takes the waiting visits.

        Raises:
            StartupError: The system refuses even this one.
        """
        try:
            self._executor.submit(self._work, None)
        except RuntimeError as error:
            raise StartupError(f"no thread to check sites can be started: {error}") from error
        self._alive += 1

    @property
    def free(self) -> int:
        """For how many more visits there are threads."""
        return self.threads - self._handed_in

    @property
    def busy(self) -> int:
        """How many threads are in a check; those that wait for a slot do not count."""
        return self._begun - self._finished

    def submit(self, site: Site, at: Seconds) -> Visit:
        """Have a site probed at *at*; a ProbeFinished follows, unless the visit is cancelled."""
        self._handed_in += 1
        visit = Visit(site, at)
        with self._lock:
            heappush(self._untaken, (at, next(self._numbers), visit))
        return visit

    def call_off(self, visit: Visit) -> bool:
        """Cancel a visit; return whether that was possible, because it had not begun."""
        with self._lock:
            if visit.begun:
                return False
            visit.called_off = True
        self._handed_in -= 1
        return True

    def attend(self, until: Seconds) -> None:
        """Give a thread to each visit before *until* that nobody has taken."""
        while (visit := self._pop(until)) is not None:
            if not self._send(visit):
                with self._lock:
                    heappush(self._untaken, (visit.at, next(self._numbers), visit))
                return

    def unattended(self) -> Seconds | None:
        """Return when the first untaken visit begins and a thread may be sent to it."""
        with self._lock:
            return max(self._untaken[0][0], self._not_before) if self._untaken else None

    def finished(self) -> None:
        """Record a ProbeFinished."""
        self._handed_in -= 1
        self._finished += 1

    def stop(self) -> None:
        """Let threads end; does not wait for running checks, and no other check begins."""
        with self._lock:
            self._stopped = True
            for own in self._idle:
                own.put(None)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _pop(self, until: Seconds) -> Visit | None:
        with self._lock:
            if self._untaken and self._untaken[0][0] <= until:
                return heappop(self._untaken)[2]
            return None

    def _send(self, visit: Visit) -> bool:
        """Send an idle or new thread to this visit; return whether there was one."""
        with self._lock:
            # The one that was busy last, whose stack and memory are still in the caches
            own = self._idle.pop() if self._idle else None
        if own is not None:
            own.put(visit)
            return True
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        if self._alive == self.threads:
            self._not_before = now + _RETURN  # one of the busy threads will come back soon
            return False
        try:
            self._executor.submit(self._work, visit)
        except RuntimeError as error:
            # One of the existing threads will take the visit
            self._not_before = now + _NEXT_TRY
            _log.warning("no_thread", extra=fields(detail=str(error)))
            return False
        self._alive += 1
        return True

    # ------------------------------------------------------------ in the threads

    def _work(self, first: Visit | None) -> None:
        own: SimpleQueue[Visit | None] = SimpleQueue()
        visit = first or self._next(own)
        while visit is not None:
            early = visit.at - self._clock.monotonic()
            if early > 0:
                self._clock.sleep(early)
            if self._begin(visit):
                began = self._clock.monotonic()
                outcome: Observation | BaseException
                try:
                    outcome = self._observe(visit.site)
                except BaseException as error:  # the loop waits for an outcome in any case
                    outcome = error
                self._inbox.put(ProbeFinished(visit.site, outcome, began))
            visit = self._next(own)

    def _begin(self, visit: Visit) -> bool:
        with self._lock:
            visit.begun = not (visit.called_off or self._stopped)
            self._begun += visit.begun
            return visit.begun

    def _next(self, own: "SimpleQueue[Visit | None]") -> Visit | None:
        """Return the next visit for the thread with this queue; None if the pool has stopped."""
        with self._lock:
            if self._stopped:
                return None
            if self._untaken:
                return heappop(self._untaken)[2]
            self._idle.append(own)
        return own.get()
