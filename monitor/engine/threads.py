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
"""After the system refused a thread; the executor keeps a note of each refusal."""
_RETURN: Seconds = 0.005
"""Within this time a thread that is done with a visit has come back for the next."""

Observe: TypeAlias = Callable[[Site], Observation]


@dataclass(slots=True, eq=False)
class Visit:
    """
    One check of a site, to be begun at a moment.

    Attributes:
        at: On the monotonic clock; what lies in the past is begun at once.
        begun: Whether a thread is or was at it; it can be called off no more.
    """

    site: Site
    at: Seconds
    begun: bool = False
    called_off: bool = False


class ProbePool:
    """
    The I/O threads; they appear as they are needed, up to a number.

    What the executor is given is not a check but a thread's whole life, which takes one visit after
    the other: an executor's bookkeeping for each check, a future and three locks, costs more than
    libcurl does.

    Visits are handed in ahead of their time, and threads wait for that by themselves: a thread that
    comes back takes the next visit that nobody has, and sleeps until it begins. So a check costs
    one wake-up, not one of the main thread and one of the thread that it hands the site to, and
    starts as exactly as the system wakes it. Where no thread came back in time, attend() sends one.

    The mutable state is the main thread's, but for who is idle, what nobody has yet, and what is
    begun or called off, which ``_lock`` guards.
    """

    def __init__(self, threads: int, observe: Observe, *, inbox: Inbox, clock: Clock) -> None:
        self.threads = threads
        self._handed_in = 0  # what is not finished or called off
        self._begun = 0
        self._finished = 0
        self._observe = observe
        self._inbox = inbox
        self._clock = clock
        self._lock = Lock()
        self._idle: list[SimpleQueue[Visit | None]] = []
        self._untaken: list[tuple[Seconds, int, Visit]] = []  # a heap
        self._numbers = count()  # so that of two visits at one moment the first comes first
        self._stopped = False
        self._alive = 0
        self._not_before: Seconds = 0.0  # is a thread to be sent where there was none
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="probe")

    def start(self) -> None:
        """
        Start the first thread; the others come as they are needed.

        While the system refuses more threads, this one still takes what waits.

        Raises:
            StartupError: It refuses even this one.
        """
        try:
            self._executor.submit(self._work, None)
        except RuntimeError as error:
            raise StartupError(f"no thread to check sites can be started: {error}") from error
        self._alive += 1

    @property
    def free(self) -> int:
        """How many visits more there are threads for."""
        return self.threads - self._handed_in

    @property
    def busy(self) -> int:
        """How many threads are in a check; those that wait for its slot are not."""
        return self._begun - self._finished

    def submit(self, site: Site, at: Seconds) -> Visit:
        """Have a site probed then; a ProbeFinished follows, unless the visit is called off."""
        self._handed_in += 1
        visit = Visit(site, at)
        with self._lock:
            heappush(self._untaken, (at, next(self._numbers), visit))
        return visit

    def call_off(self, visit: Visit) -> bool:
        """Return whether the visit was not begun yet, and never will be."""
        with self._lock:
            if visit.begun:
                return False
            visit.called_off = True
        self._handed_in -= 1
        return True

    def attend(self, until: Seconds) -> None:
        """Give a thread to each visit until then that nobody has."""
        while (visit := self._pop(until)) is not None:
            if not self._send(visit):
                with self._lock:
                    heappush(self._untaken, (visit.at, next(self._numbers), visit))
                return

    def unattended(self) -> Seconds | None:
        """Return when the first visit begins that nobody has, and a thread may be sent to it."""
        with self._lock:
            return max(self._untaken[0][0], self._not_before) if self._untaken else None

    def finished(self) -> None:
        """Take note of a ProbeFinished."""
        self._handed_in -= 1
        self._finished += 1

    def stop(self) -> None:
        """Let threads end; does not wait for those in a check, and no other check begins."""
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
        """Return whether there is a thread, idle or new, for this visit."""
        with self._lock:
            # The one that was busy last: its stack and its memory are still in the caches
            own = self._idle.pop() if self._idle else None
        if own is not None:
            own.put(visit)
            return True
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        if self._alive == self.threads:
            self._not_before = now + _RETURN  # one of them is on its way
            return False
        try:
            self._executor.submit(self._work, visit)
        except RuntimeError as error:
            # One of the threads there are will come to the site
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
                except BaseException as error:  # whatever it is, the loop waits for an outcome
                    outcome = error
                self._inbox.put(ProbeFinished(visit.site, outcome, began))
            visit = self._next(own)

    def _begin(self, visit: Visit) -> bool:
        with self._lock:
            visit.begun = not (visit.called_off or self._stopped)
            self._begun += visit.begun
            return visit.begun

    def _next(self, own: "SimpleQueue[Visit | None]") -> Visit | None:
        """Return the next visit for the thread with this queue, None when the pool has stopped."""
        with self._lock:
            if self._stopped:
                return None
            if self._untaken:
                return heappop(self._untaken)[2]
            self._idle.append(own)
        return own.get()
