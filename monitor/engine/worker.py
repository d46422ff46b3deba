"""
One worker process of the analysis: how it is started, given work, and ended.

The daemon's side, and the few lines that run in the process itself.
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
"""The verdicts, the worker's resident memory after them, and what is to be logged."""

_START_WITHIN: Seconds = 30.0
END_WITHIN: Seconds = 5.0
"""How long to wait for what ends by itself, on any machine, in a small part of that."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """
    A process that has answered once.

    Attributes:
        executor: Its own; when the process dies, what it holds fails with BrokenProcessPool.
        handle: The process itself (a pidfd): another one may come to have its number.
    """

    executor: ProcessPoolExecutor
    pid: int
    handle: int

    @classmethod
    def start(cls, context: BaseContext, judge: Judge, memory: Bytes) -> "WorkerProcess":
        """
        Start a process and wait for its first answer; blocks, so not for the main thread.

        Args:
            judge: What it will do; loaded before it answers, so that no batch waits for that.
            memory: What it may allocate; beyond it, allocating fails in the process.

        Raises:
            Exception: Whatever kept it from starting; nothing is left of it then.
        """
        # The signals that stop the daemon may go to its whole process group; the forkserver and
        # the workers inherit that they are blocked, and end when the daemon tells them to.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        executor = ProcessPoolExecutor(
            max_workers=1, mp_context=context, initializer=_become_worker, initargs=(judge, memory)
        )
        try:
            answer = executor.submit(os.getpid)
            # From here on there is a process, and it may be that it never answers
            (pid,) = executor._processes  # noqa: SLF001  there is no other way to learn it
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
        Have the process judge a batch.

        Raises:
            BrokenProcessPool: It is known to be dead.
        """
        return self.executor.submit(_work, judge, jobs)

    def end(self) -> Thread:
        """
        End the process now, whatever it is doing or whether it is stopped; once only.

        Returns:
            The executor's thread, which is at its end some milliseconds later.
        """
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        # shutdown() forgets it, and would itself wait without end; typeshed has a wrong type
        thread = cast("Thread", self.executor._executor_manager_thread)  # noqa: SLF001  see above
        self.executor.shutdown(wait=False, cancel_futures=True)
        return thread


def _ended(handle: int) -> bool:
    """Return whether what a pidfd or a sentinel's pipe stands for is over; does not wait."""
    # Not select(2), which takes no descriptor above 1023: thousands of checks go on at once
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


# ---------------------------------------------------------------- in the process itself


def _become_worker(_judge: Judge, memory: Bytes) -> None:
    """
    Prepare a worker process: bound its memory, and let it not outlive the daemon.

    The judge is an argument for the sake of its module, which it takes to hand it over.

    The daemon holds the other end of the sentinel's pipe. When it ends, however it ends, the kernel
    sends this process SIGKILL, whatever it is doing at the moment, and even if it is stopped: a
    thread that waited for the sentinel would need the interpreter's lock for that.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        memory = min(memory, most)  # to ask for more is not for everybody
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    daemon = parent_process()
    assert daemon is not None  # noqa: S101  this is a worker
    fcntl(daemon.sentinel, F_SETOWN, os.getpid())
    fcntl(daemon.sentinel, F_SETSIG, signal.SIGKILL)
    fcntl(daemon.sentinel, F_SETFL, fcntl(daemon.sentinel, F_GETFL) | os.O_ASYNC)
    if _ended(daemon.sentinel):  # it ended before the kernel was told
        os._exit(1)


def _work(judge: Judge, jobs: tuple[Job, ...]) -> Outcome:
    with collecting() as records:
        analyses = judge(jobs)
    resident_pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    return analyses, resident_pages * resource.getpagesize(), records
