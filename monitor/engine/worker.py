"""
One worker process of the analysis: how it is started, gets work, and is ended.

This module holds the daemon's side, and the few lines that run in the process itself.
"""

import os
import resource
import select
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fcntl import F_GETFL, F_SETFL, F_SETOWN, F_SETSIG, fcntl
from logging import LogRecord
from multiprocessing import parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread
from typing import TypeAlias, cast

from monitor.logs import collecting
from monitor.model import Analysis, Bytes, Job, Seconds

Judge: TypeAlias = Callable[[tuple[Job, ...]], tuple[Analysis, ...]]
Outcome: TypeAlias = tuple[tuple[Analysis, ...], Bytes, list[LogRecord]]
"""The verdicts, the worker's resident memory after them, and records to log."""

_START_WITHIN: Seconds = 30.0
END_WITHIN: Seconds = 5.0
"""How long to wait for something that ends by itself, usually far sooner."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """
    A process that has answered once.

    Attributes:
        executor: Its own executor; when the process dies, everything in it fails with
            BrokenProcessPool.
        handle: The process itself (a pidfd), because its number may be reused.
    """

    executor: ProcessPoolExecutor
    pid: int
    handle: int

    @classmethod
    def start(cls, context: BaseContext, judge: Judge, memory: Bytes) -> "WorkerProcess":
        """
        Start a process and wait for its first answer; this blocks, so not for the main thread.

        Args:
            judge: Its work; loaded before it answers, so that no batch waits for that.
            memory: What it may allocate; beyond it, allocating fails in the process.

        Raises:
            Exception: Whatever kept it from starting; nothing of it is left then.
        """
        # Stop signals may go to the daemon's whole process group; the forkserver and the workers
        # inherit the blocked signals, and end when the daemon tells them to
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        executor = ProcessPoolExecutor(
            max_workers=1, mp_context=context, initializer=_become_worker, initargs=(judge, memory)
        )
        try:
            answer = executor.submit(os.getpid)
            # From here on there is a process, which may never answer
            (pid,) = executor._processes  # noqa: SLF001  there is no public name
            worker = cls(executor, pid, os.pidfd_open(pid))
        except BaseException:  # the system has no thread for the executor, or no descriptor
            for process in list(executor._processes.values()):  # noqa: SLF001  as above
                process.kill()
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        try:
            answer.result(timeout=_START_WITHIN)
        except BaseException:
            worker.end().join(END_WITHIN)
            raise
        return worker

    @property
    def alive(self) -> bool:
        return not _ended(self.handle)

    def judge(self, judge: Judge, jobs: tuple[Job, ...]) -> "Future[Outcome]":
        """
        Make the process judge a batch.

        Raises:
            BrokenProcessPool: The process is known to be dead.
        """
        return self.executor.submit(_work, judge, jobs)

    def end(self) -> Thread:
        """
        End the process now, even if it is busy or stopped; call this only once.

        Returns:
            The executor's thread, which ends some milliseconds later.
        """
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        # shutdown() forgets it, and would itself wait forever; typeshed has a wrong type
        thread = cast("Thread", self.executor._executor_manager_thread)  # noqa: SLF001  see above
        self.executor.shutdown(wait=False, cancel_futures=True)
        return thread


def _ended(handle: int) -> bool:
    """Return whether the process behind a pidfd or a sentinel's pipe has ended; does not wait."""
    # Not select(2), which takes no descriptor above 1023: thousands of checks run at once
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


# ---------------------------------------------------------------- in the process itself


def _become_worker(_judge: Judge, memory: Bytes) -> None:
    """
    Prepare a worker process: limit its memory, and make sure that it ends with the daemon.

    The judge is an argument only so that its module is loaded to unpickle it.

    The daemon holds the other end of the sentinel's pipe. When the daemon ends, in whatever way,
    the kernel sends this process SIGKILL, whatever it is doing and even if it is stopped; a thread
    that waited for the sentinel would need the interpreter's lock for that.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        memory = min(memory, most)  # asking for more needs a privilege
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    daemon = parent_process()
    assert daemon is not None  # noqa: S101  this is a worker
    fcntl(daemon.sentinel, F_SETOWN, os.getpid())
    fcntl(daemon.sentinel, F_SETSIG, signal.SIGKILL)
    fcntl(daemon.sentinel, F_SETFL, fcntl(daemon.sentinel, F_GETFL) | os.O_ASYNC)
    if _ended(daemon.sentinel):  # it ended before the kernel was told about it
        os._exit(1)


def _work(judge: Judge, jobs: tuple[Job, ...]) -> Outcome:
    with collecting() as records:
        analyses = judge(jobs)
    resident_pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return analyses, resident_pages * resource.getpagesize(), records
