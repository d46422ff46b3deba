"""
Detects when the configuration may have changed; runs in its own thread.

It watches folders, not files: editors and ConfigMaps replace files by renaming, and a watch on a
file would stay with the old one forever. An event in a folder is only a reason to look; the content
decides whether anything changed, so other files in the folder have no effect.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeAlias

import watchfiles

from monitor.config.files import is_yaml_name, read_bytes
from monitor.logs import fields
from monitor.units import Seconds

_QUIET_MS = 200
"""A burst of changes is over when nothing has happened for this long…"""
_BURST_MS = 2000
"""… or after this."""
_POLL: Seconds = 2.0
"""Time between looks without an event: network drives send no events, and changes before the watch
begins cause none."""
_STOP_WAIT = 5.0
_SETTLED_NS = 2 * 10**9
"""A younger stamp may stand for two contents: file system clocks tick in steps of milliseconds,
some in steps of two seconds."""
_MOST_LINKS = 40
"""The limit of Linux."""

_log = logging.getLogger(__name__)

Watch: TypeAlias = Callable[..., Iterator[Any]]
"""watchfiles.watch, or its replacement in tests."""
_Folders: TypeAlias = dict[Path, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Look:
    """
    What was found at a path.

    Attributes:
        stamp: Changes whenever the content does, and needs no reading; None if the path is missing,
            or the stamp is not reliable yet.
        content: A file's digest, a folder's names; empty if there is nothing to read.
    """

    stamp: tuple[int, ...] | None
    content: bytes


_Looks: TypeAlias = dict[Path, _Look]


class Watcher:
    """
    Calls back, from its thread, when files of the configuration have new content.

    The mutable state belongs to the thread; other threads pass it files through a queue.
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        *,
        watch: Watch = watchfiles.watch,
        poll: Seconds = _POLL,
    ) -> None:
        """
        Create a watcher that is not started yet.

        Args:
            watch: watchfiles.watch, or its replacement.
            poll: The longest time until a change is noticed that the kernel does not report.
        """
        self._on_change = on_change
        self._watch = watch
        self._poll = poll
        self._wanted: SimpleQueue[_Looks] = SimpleQueue()
        self._interrupted = Event()
        self._stopping = False
        self._polling = False
        self._thread = Thread(target=self._run, name="watch", daemon=True)

    def start(self, files: Iterable[Path]) -> None:
        """
        Watch these files and folders; every change after this call is noticed.

        A file need not exist yet. In a folder, the names of YAML files and folders count.
        """
        self.update(files)
        self._thread.start()

    def update(self, files: Iterable[Path]) -> None:
        """
        Watch these files and folders from now on, and no others.

        One that was already watched is compared with its earlier content, so a change during a
        reload is not lost.
        """
        self._wanted.put({path: _look(path, None) for path in files})
        self._interrupted.set()

    def stop(self) -> None:
        """Stop watching; wait a moment for a running callback."""
        self._stopping = True
        self._interrupted.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WAIT)

    # -- in the thread

    def _run(self) -> None:
        looks: _Looks = {}
        while True:
            self._interrupted.clear()
            if self._stopping:  # checked after clearing, which may have hidden the interruption
                return
            looks = self._take_wanted(looks)
            folders = _folders(looks)
            for event in self._occasions(folders):
                now = {path: _look(path, before) for path, before in looks.items()}
                changed = any(now[path].content != looks[path].content for path in looks)
                looks = now
                if changed:
                    self._on_change()
                if (event or changed) and _folders(looks) != folders:
                    break

    def _take_wanted(self, looks: _Looks) -> _Looks:
        while not self._wanted.empty():
            wanted = self._wanted.get()
            looks = {path: looks.get(path, look) for path, look in wanted.items()}
        return looks

    def _occasions(self, folders: _Folders) -> Iterator[bool]:
        """Yield whenever it is time to look, and whether something happened; until interrupted."""
        if not self._polling:
            try:
                for changes in self._watch(
                    *folders,
                    watch_filter=None,
                    debounce=_BURST_MS,
                    step=_QUIET_MS,
                    stop_event=self._interrupted,
                    rust_timeout=int(self._poll * 1000),
                    yield_on_timeout=True,
                    raise_interrupt=False,
                    recursive=False,
                    ignore_permission_denied=True,
                ):
                    yield bool(changes)
            except FileNotFoundError:  # a folder disappeared; the others are watched again
                return
            except (OSError, RuntimeError) as error:
                # watchfiles raises RuntimeError if inotify has no watches left
                self._polling = True
                _log.warning("watch_by_polling", extra=fields(cause=str(error)))
            else:
                return
        while not self._interrupted.wait(self._poll):
            yield False


def _look(path: Path, before: _Look | None) -> _Look:
    try:
        if path.is_dir():
            names = sorted(entry.name for entry in os.scandir(path) if _counts(entry))
            return _Look(None, "\0".join(names).encode(errors="surrogateescape"))
        status = path.stat()
        # cp --preserve, rsync and tar set the time of the last write; nothing can set the time of
        # the last status change
        stamp = (
            *(status.st_dev, status.st_ino, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns),
        )
        if before and before.stamp == stamp:
            return before
        settled = time.time_ns() - status.st_ctime_ns > _SETTLED_NS
        return _Look(stamp if settled else None, hashlib.sha256(read_bytes(path)).digest())
    except (OSError, ValueError):  # missing, unreadable, or not a file at all
        return _Look(None, b"")


def _counts(entry: os.DirEntry[str]) -> bool:
    return is_yaml_name(entry.name) or (not entry.name.startswith(".") and entry.is_dir())


def _folders(paths: Iterable[Path]) -> _Folders:
    """
    Return the folders where any change of one of the paths causes an event.

    Each comes with its identity: a folder that was itself replaced must be watched again.
    """
    folders: _Folders = {}
    for path in paths:
        with suppress(OSError):  # gone at this moment, or not accessible
            for folder in _on_the_way(path):
                status = folder.stat()
                folders[folder] = (status.st_dev, status.st_ino)
    return folders


def _on_the_way(path: Path) -> Iterator[Path]:
    """Yield the folder of a path, and the folders of all symbolic links on the way to it."""
    # Not with realpath, because a link may be swapped at any step: a ConfigMap's file is a link to
    # ..data/file, and ..data is a link to the current version
    path = path.absolute()
    for _ in range(_MOST_LINKS):
        yield _nearest_folder(path)
        link = next((step for step in (path, *path.parents) if step.is_symlink()), None)
        if link is None:
            break
        yield link.parent
        path = Path(os.path.normpath(link.parent / link.readlink() / path.relative_to(link)))


def _nearest_folder(path: Path) -> Path:
    """Return a folder itself, or the folder of a file; the nearest above, if it does not exist."""
    return next(step for step in (path, *path.parents) if step.is_dir())
