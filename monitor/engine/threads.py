"""The I/O threads: a ThreadPoolExecutor whose threads take one site after the other."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

Observe: TypeAlias = Callable[[Site], Observation]


class ProbePool:
    """
    The I/O threads; they appear as they are needed, up to a number.

    What the executor is given is not a check but a thread's whole life, which takes one site after
    the other: an executor's bookkeeping for each check, a future and three locks, costs more than
    libcurl does. Of the idle threads, the one that was busy last is handed the next site: its stack
    and its memory are still in the caches. The mutable state is the main thread's, but for who is
    idle and what waits, which ``_lock`` guards.
    """

    def __init__(self, threads: int, observe: Observe, *, inbox: Inbox, clock: Clock) -> None:
        self.threads = threads
        self.busy = 0
        self._observe = observe
        self._inbox = inbox
        self._clock = clock
        self._lock = Lock()
        self._idle: list[SimpleQueue[Site | None]] = []
        self._waiting: deque[Site] = deque()
        self._stopped = False
        self._no_thread_before: Seconds = 0.0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="probe")

    def start(self) -> None:
        """
        Start the first thread; the others come as they are needed.

        While the system refuses more threads, this one still takes what waits.

        Raises:
            StartupError: It refuses even this one.
        """
        try:
            self._executor.submit(self._work)
        except RuntimeError as error:
            raise StartupError(f"no thread to check sites can be started: {error}") from error

    @property
    def free(self) -> int:
        return self.threads - self.busy

    def submit(self, site: Site) -> None:
        """Probe a site; a ProbeFinished follows."""
        self.busy += 1
        with self._lock:
            if self._idle:
                self._idle.pop().put(site)
                return
            self._waiting.append(site)
        if self._clock.monotonic() >= self._no_thread_before:
            try:
                self._executor.submit(self._work)
            except RuntimeError as error:
                # One of the threads there are will come to the site
                self._no_thread_before = self._clock.monotonic() + _NEXT_TRY
                _log.warning("no_thread", extra=fields(detail=str(error)))

    def finished(self) -> None:
        """Take note of a ProbeFinished."""
        self.busy -= 1

    def stop(self) -> None:
        """Let idle threads end; does not wait for those in a check."""
        with self._lock:
            self._stopped = True
            for own in self._idle:
                own.put(None)
        self._executor.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------ in the threads

    def _work(self) -> None:
        own: SimpleQueue[Site | None] = SimpleQueue()
        while (site := self._next(own)) is not None:
            outcome: Observation | BaseException
            try:
                outcome = self._observe(site)
            except BaseException as error:  # whatever it is, the loop waits for an outcome
                outcome = error
            self._inbox.put(ProbeFinished(site, outcome))

    def _next(self, own: "SimpleQueue[Site | None]") -> Site | None:
        """Return the next site for the thread with this queue, None when the pool has stopped."""
        with self._lock:
            if self._stopped:
                return None
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(own)
        return own.get()
