"""
How worker processes are started: multiprocessing contexts that work in any container.

Python's own contexts need POSIX semaphores, and so a writable ``/dev/shm``, and a folder for a
socket. These need no semaphores, and without a folder they do without the socket.
"""

import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext, ForkServerContext, SpawnContext
from multiprocessing.util import get_temp_dir
from typing import Any

SOCKET_FOLDERS = ("/dev/shm", "/tmp", "/var/tmp")  # noqa: S108  we create our own folder in it
"""The first is writable in containers whose root is not; $TMPDIR may be too deep for a socket."""


def worker_context(preload: Sequence[str], folders: Sequence[str]) -> BaseContext:
    """
    Return the context for pools of one process each.

    A forkserver loads modules once, and each worker is a fork of it, which starts in no time and
    shares memory with the others. The forkserver listens on a socket in a folder that only we may
    enter. If no such folder can be created, each worker is a new Python process. An abstract socket
    would need no folder, but everyone in the network namespace, such as all containers of a
    Kubernetes pod, could make the forkserver run anything.

    Args:
        preload: The modules with the workers' code.
        folders: Where a folder for the socket may be created, best first.
    """
    _do_without_tracker()
    if _socket_folder(folders) is None:
        return _Spawn()
    context = _ForkServer()
    context.set_forkserver_preload(list(preload))
    return context


def end_forkserver() -> None:
    """
    End the forkserver and free its memory; the next worker starts another.

    No worker may be running or starting. Does nothing if there is no forkserver.
    """
    server: Any = forkserver._forkserver  # noqa: SLF001  there is no public way to end it
    if server._forkserver_pid is not None:  # noqa: SLF001  as above
        # _stop() waits for it, so it must not be stopped or busy
        with suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)  # noqa: SLF001  as above
        with suppress(FileNotFoundError):  # its socket, which a cleaner of /tmp may have removed
            server._stop()  # noqa: SLF001  as above


@cache
def _do_without_tracker() -> None:
    """
    Keep multiprocessing from starting its resource tracker.

    The tracker is a process of 7 MB that removes semaphores and shared memory which other
    processes leave behind; we create none.
    """
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    resource_tracker.getfd = lambda: nothing
    resource_tracker.ensure_running = lambda: None


def _socket_folder(folders: Sequence[str]) -> str | None:
    """Make multiprocessing create its folder, which it keeps using and removes when we end."""
    before = tempfile.tempdir
    try:
        for folder in folders:
            tempfile.tempdir = folder
            with suppress(OSError):
                return get_temp_dir()
    finally:
        tempfile.tempdir = before
    return None


class _Unshared:
    """
    Stands in for a lock that nobody else wants, and for a count that is kept elsewhere.

    In a pool of one process, each end of each queue has one thread, so there is nobody to lock out.
    The AnalysisPool makes sure that not too much is put into the queues.
    """

    @property
    def _semlock(self) -> "_Unshared":
        """The attribute that multiprocessing reads to see whether a queue is full."""
        return self

    def _is_zero(self) -> bool:
        return False

    def acquire(self, _block: bool = True, _timeout: float | None = None) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass


class _OfOne(BaseContext):
    def Lock(self) -> _Unshared:  # type: ignore[override]  # noqa: N802  multiprocessing's name
        return _Unshared()

    def BoundedSemaphore(self, value: int = 1) -> _Unshared:  # type: ignore[override]  # noqa: ARG002, N802  also its name
        return _Unshared()


class _ForkServer(_OfOne, ForkServerContext):
    pass


class _Spawn(_OfOne, SpawnContext):
    pass
