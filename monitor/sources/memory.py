"""The last good lists in the data folder, for the next start; one entry per line."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from monitor.discovered import ListedSite
from monitor.logs import fields
from monitor.units import Bytes

_log = logging.getLogger(__name__)

_NAME = "discovered.jsonl"
_LARGEST: Bytes = 256 * 1024**2

Lists = Mapping[tuple[str, str], Mapping[str, tuple[ListedSite, ...]]]
"""By name and kind of the source, then by part."""


class LastGoodLists:
    """
    The file of one daemon; it is written as a whole, first under another name.

    Args:
        folder: None if nothing is to be kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _NAME if folder else None
        self._failed = False

    def load(self) -> Lists:
        """Return the content of the file; empty if it is missing; broken lines are skipped."""
        lists: dict[tuple[str, str], dict[str, tuple[ListedSite, ...]]] = {}
        found: dict[tuple[str, str, str], list[ListedSite]] = {}
        for source, kind, part, entry in self._lines():
            found.setdefault((source, kind, part), []).append(entry)
        for (source, kind, part), entries in found.items():
            lists.setdefault((source, kind), {})[part] = tuple(entries)
        return lists

    def save(self, lists: Lists) -> None:
        """Write all lists; a failure is logged once."""
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Entries may hold secrets
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                # One line at a time: writing everything at once would hold up all threads
                for (source, kind), parts in lists.items():
                    for part, entries in parts.items():
                        for one in entries:
                            if not one.problem:
                                line = [source, kind, part, one.place, one.keys]
                                file.write(f"{json.dumps(line)}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.warning("discovery_not_saved", extra=fields(detail=error.strerror))
            self._failed = True

    def _lines(self) -> Iterator[tuple[str, str, str, ListedSite]]:
        if self._path is None:
            return
        with suppress(OSError):
            if self._path.stat().st_size > _LARGEST:
                return
            with self._path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    with suppress(ValueError, TypeError, RecursionError):
                        source, kind, part, place, keys = json.loads(line)
                        yield source, kind, part, ListedSite(dict(keys), place)
