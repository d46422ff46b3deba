"""The I/O threads: a ThreadPoolExecutor whose threads take one site after the other."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
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

    What the executor is given is not a check but a thread's whole life, which takes sites from a
    queue of ours: an executor's bookkeeping for each check, a future and three locks, costs more
    than libcurl does. The mutable state is the main thread's, but for that queue.
    """

    def __init__(self, threads: int, observe: Observe, *, inbox: Inbox, clock: Clock) -> None:
        self.threads = threads
        self.busy = 0
        self._observe = observe
        self._inbox = inbox
        self._clock = clock
        self._sites: SimpleQueue[Site | None] = SimpleQueue()
        self._started = 0
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
            self._start_thread()
        except RuntimeError as error:
            raise StartupError(f"no thread to check sites can be started: {error}") from error

    @property
    def free(self) -> int:
        return self.threads - self.busy

    def submit(self, site: Site) -> None:
        """Probe a site; a ProbeFinished follows."""
        self.busy += 1
        self._sites.put(site)
        if self.busy > self._started and self._clock.monotonic() >= self._no_thread_before:
            try:
                self._start_thread()
            except RuntimeError as error:
                # One of the threads there are will come to the site
                self._no_thread_before = self._clock.monotonic() + _NEXT_TRY
                _log.warning("no_thread", extra=fields(detail=str(error)))

    def finished(self) -> None:
        """Take note of a ProbeFinished."""
        self.busy -= 1

    def stop(self) -> None:
        """Let idle threads end; does not wait for those in a check."""
        for _ in range(self._started):
            self._sites.put(None)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start_thread(self) -> None:
        self._executor.submit(self._work)
        self._started += 1

    def _work(self) -> None:
        """Probe what comes until the end; runs in a thread."""
        while (site := self._sites.get()) is not None:
            outcome: Observation | BaseException
            try:
                outcome = self._observe(site)
            except BaseException as error:  # whatever it is, the loop waits for an outcome
                outcome = error
            self._inbox.put(ProbeFinished(site, outcome))
