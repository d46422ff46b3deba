"""
Whether and where the daemon keeps what it learns, and what it reports to if nothing is kept.

Loaded by every daemon and by commands that only check; the history itself is in ``memory.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from monitor.engine.hub import HubRecorder
from monitor.model import Past, Site, SiteState
from monitor.past import Span
from monitor.units import Timestamp

NOTHING = "none"
"""Given instead of a data folder: nothing is kept."""


def data_folder(given: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the data folder; None if nothing is to be kept."""
    path = given or environ.get("MONITOR_DATA")
    if not path:
        # systemd lists several folders, separated by colons, if a unit has several
        path = environ.get("STATE_DIRECTORY", "").partition(":")[0] or "data"
    return None if path == NOTHING else Path(path)


class HubMemory(HubRecorder, Protocol):
    """A recorder that also accepts corrections of the past."""

    def mended(self, spans: Sequence[Span]) -> None: ...


class Oblivion:
    """A recorder that keeps nothing, for one-off checks and for ``--data none``."""

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        pass

    def left(self, names: Iterable[str], time: Timestamp) -> None:
        pass

    def renamed(self, old: str, new: str) -> None:
        pass

    def late(self, site: Site, past: Past) -> None:
        pass

    def mended(self, spans: Sequence[Span]) -> None:
        pass

    def position(self, partition: int, sequence: int) -> None:
        pass
