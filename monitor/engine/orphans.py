"""
The duty of process 1, which the daemon is in a container: to wait for orphaned processes.

When a process dies, its children become those of process 1: workers whose forkserver was killed, or
whatever a ``docker exec`` left behind. Nobody else waits for them, so each would remain a zombie
forever. This runs in its own thread.
"""

import logging
import os
import time
from collections.abc import Callable
from multiprocessing import active_children, forkserver
from pathlib import Path
from threading import Thread

from monitor.logs import fields
from monitor.model import Seconds

_log = logging.getLogger(__name__)

_EVERY: Seconds = 5.0


def start_reaping(every: Seconds = _EVERY) -> None:
    """Start waiting for orphans regularly; does nothing unless this is process 1."""

    def loop() -> None:
        while True:
            time.sleep(every)
            reap(_ours)

    if os.getpid() == 1:
        Thread(target=loop, name="orphans", daemon=True).start()


def reap(ours: Callable[[], set[int]]) -> list[int]:
    """
    Wait for dead children that are not ours, and return them.

    Args:
        ours: Returns the pids that somebody here waits for; called after the dead are known, so
            that it includes all of those that are ours.
    """
    dead = [pid for pid in _children() if _is_zombie(pid)]
    strangers = sorted(set(dead) - ours()) if dead else []
    for pid in strangers:
        os.waitpid(pid, os.WNOHANG)
        _log.debug("orphan_reaped", extra=fields(pid=pid))
    return strangers


def _ours() -> set[int]:
    # multiprocessing fails for good if somebody else has waited for its forkserver
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001  there is no public name
    return {server, *(child.pid for child in active_children())} - {None}


def _children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # the thread has ended
            continue
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return False
