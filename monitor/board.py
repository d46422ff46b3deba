"""
Where the engine and the web meet: the last known state of every site.

The engine (main thread) publishes; the web thread takes lists. Nothing else is shared between
the two, and the lock here guards it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from monitor.model import SiteState
from monitor.records import statically_frozen


class Sample(NamedTuple):
    """
    What all sites' lines of one sample have in common.

    Attributes:
        before: The name, at the beginning of a line; the site's labels follow.
        after: What follows them: labels of the sample's own, and the end of all labels.
        column: Where the sample stands among the values of a site.
    """

    before: bytes
    after: bytes
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """
    Which samples a site shows; one object for all sites that show the same.

    Attributes:
        families: The samples of each family, in the order of metrics.families.
    """

    families: Mapping[str, tuple[Sample, ...]]


@statically_frozen(frozen=True, slots=True)
class Series:
    """
    What only this site's sample lines have: the rest of them is in the shape.

    Attributes:
        labels: The site's labels, which each line has; without the brace at their end.
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
        """Show these states; each replaces the one of the same site."""
        with self._lock:
            for entry in entries:
                self._entries[entry.state.site.name] = entry

    def remove(self, names: Iterable[str]) -> None:
        """Forget these sites; their series go with them."""
        with self._lock:
            for name in names:
                self._entries.pop(name, None)

    def entries(self) -> list[BoardEntry]:
        """Return the entries as they stand; the list does not change any more."""
        with self._lock:
            return list(self._entries.values())

    def get(self, name: str) -> BoardEntry | None:
        with self._lock:
            return self._entries.get(name)

    def ready(self) -> None:
        """Say that everything runs; of no effect once the daemon stops."""
        with self._lock:
            self._ready = True

    def stopping(self) -> None:
        """Say that the daemon stops: for good, even if its start is only now over."""
        with self._lock:
            self._stopping = True

    def unready(self) -> str | None:
        """Return why the daemon is not ready, or None when it is."""
        with self._lock:
            if self._stopping:
                return "stopping"
            return None if self._ready else "starting"
