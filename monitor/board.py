"""
Where the engine and the web meet: the last known state of every site.

The engine (main thread) publishes states; the web thread reads lists of them. The two share nothing
else, and the lock here guards it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from monitor.model import SiteState
from monitor.records import statically_frozen


class Sample(NamedTuple):
    """
    What the lines of one sample have in common for all sites.

    Attributes:
        before: The name, at the beginning of a line; the site's labels follow.
        after: The rest of the labels, those of the sample itself, and their closing brace.
        column: The place of the sample among the values of a site.
    """

    before: bytes
    after: bytes
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """
    The samples that a site shows; one object for all sites that show the same samples.

    Attributes:
        families: The samples of each family, in the order of metrics.families.
    """

    families: Mapping[str, tuple[Sample, ...]]


@statically_frozen(frozen=True, slots=True)
class Series:
    """
    The part of the sample lines that only this site has; the rest is in the shape.

    Attributes:
        labels: The site's labels, which are in each line; without the closing brace.
        values: One for each sample of the shape, as text.
    """

    shape: Shape
    labels: bytes
    values: tuple[bytes, ...]


@statically_frozen(frozen=True, slots=True)
class BoardEntry:
    state: SiteState
    series: Series


class StatusBoard:
    """The mutable state is the entries and the readiness, both guarded by ``_lock``."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, BoardEntry] = {}
        self._ready = False
        self._stopping = False

    def publish(self, entries: Iterable[BoardEntry]) -> None:
        """Show these states; each replaces the previous one of its site."""
        with self._lock:
            for entry in entries:
                self._entries[entry.state.site.name] = entry

    def remove(self, names: Iterable[str]) -> None:
        """Forget these sites and their series."""
        with self._lock:
            for name in names:
                self._entries.pop(name, None)

    def entries(self) -> list[BoardEntry]:
        """Return the current entries; the list does not change afterwards."""
        with self._lock:
            return list(self._entries.values())

    def get(self, name: str) -> BoardEntry | None:
        with self._lock:
            return self._entries.get(name)

    def ready(self) -> None:
        """Mark the daemon as ready; this has no effect once it is stopping."""
        with self._lock:
            self._ready = True

    def stopping(self) -> None:
        """Mark the daemon as stopping, for good, even if its start ends only now."""
        with self._lock:
            self._stopping = True

    def unready(self) -> str | None:
        """Return why the daemon is not ready, or None if it is."""
        with self._lock:
            if self._stopping:
                return "stopping"
            return None if self._ready else "starting"
