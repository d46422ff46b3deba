"""Files in Prometheus' file_sd format, found by patterns; runs in the source's thread."""

import glob
import json
from pathlib import Path
from threading import Event
from typing import Any

import watchfiles

from monitor.discovered import ListedSite, Source
from monitor.sources.options import FileOptions
from monitor.sources.ports import Look, UnreadableError, WatchedSource, World
from monitor.sources.targets import entries_of
from monitor.units import Bytes, Seconds

LARGEST: Bytes = 16 * 1024**2
"""A hundred thousand targets with their own labels; a larger file is not a list."""
_MOST_FILES = 1000
_POLL: Seconds = 2.0
"""The time between looks without an event: network drives send none."""
_QUIET_MS = 50
_BURST_MS = 500


class _File(WatchedSource):
    """The mutable state belongs to the source's thread: each file's content and its entries."""

    def __init__(self, source: Source, options: FileOptions, world: World) -> None:
        self._source = source
        self._options = options
        self._world = world
        self._read: dict[str, tuple[bytes, tuple[ListedSite, ...] | UnreadableError]] = {}
        self._over = Event()

    def look(self) -> Look:
        names = self._names()
        if len(names) > _MOST_FILES:
            raise UnreadableError(f"paths match {len(names)} files; at most {_MOST_FILES} are read")
        self._read = {name: self._one(name) for name in names}
        return Look({name: found for name, (_, found) in self._read.items()})

    def wait(self) -> None:
        folders = {_nearest_folder(self._source.folder / path) for path in self._options.paths}
        folders |= {_nearest_folder(self._source.folder / name) for name in self._read}
        try:
            for _ in watchfiles.watch(
                *folders,
                watch_filter=None,
                debounce=_BURST_MS,
                step=_QUIET_MS,
                stop_event=self._over,
                rust_timeout=int(_POLL * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=False,
                ignore_permission_denied=True,
            ):
                return
        except (OSError, RuntimeError):  # a folder disappeared, or inotify has no watches left
            self._over.wait(_POLL)

    def close(self) -> None:
        self._over.set()

    def _names(self) -> list[str]:
        names: dict[str, None] = {}
        for path in self._options.paths:
            found = [path]
            if glob.has_magic(path):
                found = [
                    name
                    for name in sorted(
                        glob.glob(path, root_dir=self._source.folder, recursive=True)  # noqa: PTH207  pathlib refuses absolute patterns
                    )
                    if not (self._source.folder / name).is_dir()
                ]
            names.update(dict.fromkeys(found))
        return list(names)

    def _one(self, name: str) -> tuple[bytes, tuple[ListedSite, ...] | UnreadableError]:
        """Return a file's content and its entries; the same entries for the same content."""
        try:
            content = _content(self._source.folder / name)
        except OSError as error:
            return b"", UnreadableError(f"{name}: {(error.strerror or str(error)).lower()}")
        except UnreadableError as error:
            return b"", UnreadableError(f"{name}: {error}")
        known = self._read.get(name)
        if known is not None and known[0] == content and content:
            return known
        try:
            return content, tuple(self._entries(name, content))
        except UnreadableError as error:
            return content, UnreadableError(f"{name}: {error}")

    def _entries(self, name: str, content: bytes) -> list[ListedSite]:
        if not content.strip():
            raise UnreadableError("is empty; write [] to list none")
        document = read_document(content, name, self._world, as_json=name.endswith(".json"))
        found = entries_of(
            document,
            scheme=self._options.scheme,
            labels={"source": self._source.name, "file": Path(name).name},
            read_yaml=self._world.read_yaml,
        )
        return [ListedSite(one.keys, f"{name}: {one.place}", one.problem) for one in found]


def read_document(content: bytes, shown: str, world: World, *, as_json: bool) -> Any:
    """
    Return the data in a JSON or YAML text.

    Raises:
        UnreadableError: It is neither.
    """
    try:
        return json.loads(content) if as_json else world.read_yaml(content, shown)
    except json.JSONDecodeError as error:
        what = f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise UnreadableError(what) from None
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8") from None
    except RecursionError:
        raise UnreadableError("is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def _content(path: Path) -> bytes:
    # A pipe would never be read to its end
    if not path.exists():
        raise UnreadableError("there is no such file")
    if not path.is_file():
        raise UnreadableError("is not a regular file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UnreadableError(f"is larger than {LARGEST // 1024**2}MiB")
    return content


def _nearest_folder(path: Path) -> Path:
    """Return the nearest existing folder in which something new could match."""
    steps = [path, *path.parents]
    return next(step for step in steps if not glob.has_magic(str(step)) and step.is_dir())


def open_source(source: Source, world: World) -> WatchedSource:
    """Return the reader of a source of this kind."""
    return _File(source, source.options, world)
