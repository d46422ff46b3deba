"""
Wires what the daemon remembers: folder, store, writer, readers; part of the composition root.

Commands that query the past without a daemon open the same store with ``open_history``.
"""

import math
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from monitor.clock import SystemClock
from monitor.config.settings import HistorySettings
from monitor.errors import HistoryError
from monitor.history.aging import Keep
from monitor.history.folder import DataFolder
from monitor.history.inherit import inherit
from monitor.history.reader import Reader
from monitor.history.store import Store, connect, store_url
from monitor.history.upkeep import Upkeep
from monitor.history.writer import HistoryMeters, Writer
from monitor.model import Site
from monitor.past import Inherited, Remembered
from monitor.units import Seconds

_PATIENCE: Seconds = 60.0
"""How long a start waits for the remembered states."""
_LATER_PATIENCE: Seconds = 5.0
"""How long sites that are added later wait for theirs."""
_SILENCE: Seconds = 40.0
"""How long a PostgreSQL server may stay silent; it waits up to 30 seconds for locks."""
_FAREWELL: Seconds = 10.0
"""How long a stop waits for the last transaction."""


class Memory:
    """
    The history of a daemon, from before its first check to after its last.

    Raises:
        StartupError: Another daemon has the data folder.
    """

    def __init__(
        self,
        folder: Path,
        settings: HistorySettings,
        *,
        seat: str,
        version: str,
        meters: HistoryMeters,
    ) -> None:
        self._folder = DataFolder(folder, f"process {os.getpid()} on {socket.gethostname()}")
        self._settings = settings
        if settings.store is None:
            with suppress(HistoryError):  # the writer tries again, and reports the reason
                self._folder.claim()
        self._writer = Writer(
            self._open,
            seat=seat,
            version=version,
            clock=SystemClock(),
            meters=meters,
            keep=Keep(
                raw=_finite(settings.raw),
                five_minutes=_finite(settings.five_minutes),
                hourly=_finite(settings.hourly),
                daily=_finite(settings.daily),
                removed=_finite(settings.removed),
                max_size=settings.max_size,
            ),
            results=settings.results,
        )
        self._patience = _PATIENCE
        self.folder = folder
        self.recorder = self._writer
        self.reader = open_history(folder, settings)

    def start(self) -> None:
        self._writer.start()

    def recall(self, sites: Sequence[Site]) -> Mapping[str, Remembered]:
        """Return what is remembered about sites that are new to the list; waits for the store."""
        patience, self._patience = self._patience, _LATER_PATIENCE
        return self._writer.recall(sites, patience)

    def positions(self) -> Mapping[int, int]:
        """Return how far this hub has read each partition of the stream before its restart."""
        return self._writer.positions(_PATIENCE)

    def stop(self) -> None:
        """Write what is left; after that, another daemon may use the folder."""
        self.reader.close()
        self._writer.stop(_FAREWELL)
        self._folder.release()

    def _open(self) -> Store:
        if self._settings.store is None:
            self._folder.claim()
        url = store_url(self._settings.store, self._folder.path)
        return connect(url, writes=True, silence=_SILENCE)


def open_history(folder: Path | None, settings: HistorySettings) -> Reader:
    """
    Return a reader of the history; it does not connect yet.

    Raises:
        HistoryError: There is no folder to read, or a driver is missing.
    """
    url = store_url(settings.store, folder)
    return Reader(connect(url, writes=False, silence=_SILENCE), SystemClock())


def open_upkeep(folder: Path | None, settings: HistorySettings) -> Upkeep:
    """
    Return the object that maintains the store.

    Raises:
        HistoryError: There is no store.
    """
    url = store_url(settings.store, folder)
    if settings.store is None and not Path(url.database or "").is_file():
        raise HistoryError(f"there is no history in {folder}")
    return Upkeep(connect(url, writes=True))


def take_over(
    folder: Path | None,
    settings: HistorySettings,
    sites: Mapping[str, Inherited],
    version: str,
) -> dict[str, Inherited]:
    """
    Write another monitor's past of these sites into the history; return what was new for each.

    Raises:
        StartupError: A daemon is using the data folder, and would not notice the change.
        HistoryError: There is no folder, or the store cannot be used.
    """
    url = store_url(settings.store, folder)
    claimed = DataFolder(folder, "monitor import") if folder is not None else None
    if claimed is not None:
        claimed.claim()
    try:
        engine = connect(url, writes=True)
        try:
            return inherit(engine, sites, SystemClock().time(), version)
        finally:
            engine.dispose()
    finally:
        if claimed is not None:
            claimed.release()


def _finite(kept: Seconds) -> Seconds | None:
    return kept if math.isfinite(kept) else None
