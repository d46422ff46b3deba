"""
What a place could not deliver yet: a limited file in the data folder. For the link's thread.

Messages leave in the order in which they came; the oldest are dropped when the limit is reached.
While the file cannot be used, waiting messages are kept in memory, with the same limit.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from monitor.logs import fields
from monitor.units import Bytes

_log = logging.getLogger(__name__)

_FILE = "reports.db"
_MEMORY = ":memory:"
_TABLE = """
CREATE TABLE IF NOT EXISTS waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    count INTEGER NOT NULL,
    reports TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    One waiting message.

    Attributes:
        count: How many reports it carries.
        reports: The text from wire.pack_reports().
    """

    id: str
    partition: int
    count: int
    reports: str


class Spool:
    """
    The mutable state is one table; only the link's thread uses it.

    Args:
        folder: The data folder; None keeps everything in memory.
        bound: The limit for the text of all reports.
    """

    def __init__(self, folder: Path | None, bound: Bytes) -> None:
        self._bound = bound
        self._database = self._open(folder)
        size, count = self._database.execute(
            "SELECT coalesce(sum(length(reports)), 0), coalesce(sum(count), 0) FROM waiting"
        ).fetchone()
        self._size: Bytes = size
        self.reports: int = count
        self.dropped = 0

    def _open(self, folder: Path | None) -> sqlite3.Connection:
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return _database(str(folder / _FILE))
            except (OSError, sqlite3.Error) as error:
                _log.warning("reports_not_persistent", extra=fields(detail=str(error)))
        return _database(_MEMORY)

    def __bool__(self) -> bool:
        return self.reports > 0

    def put(self, messages: Iterable[Waiting]) -> None:
        """Append messages; the oldest are dropped if there are too many."""
        messages = list(messages)
        try:
            self._append(messages)
        except sqlite3.Error as error:  # the disk is full, or gone
            _log.warning("reports_not_persistent", extra=fields(detail=str(error)))
            self._to_memory()
            self._append(messages)

    def _append(self, messages: Sequence[Waiting]) -> None:
        with self._database as connection:
            connection.executemany(
                "INSERT INTO waiting (id, partition, count, reports) VALUES (?, ?, ?, ?)",
                map(astuple, messages),
            )
            size = self._size + sum(len(one.reports) for one in messages)
            reports = self.reports + sum(one.count for one in messages)
            dropped = 0
            while size > self._bound:
                number, length, count = connection.execute(
                    "SELECT number, length(reports), count FROM waiting ORDER BY number LIMIT 1"
                ).fetchone()
                connection.execute("DELETE FROM waiting WHERE number = ?", (number,))
                size, dropped = size - length, dropped + count
        self._size, self.reports = size, reports - dropped
        self.dropped += dropped

    def _to_memory(self) -> None:
        kept: list[Waiting] = []
        try:
            kept = [Waiting(*row) for row in self._rows("")]
        except sqlite3.Error:
            self.dropped += self.reports
        self._database.close()
        self._database = _database(_MEMORY)
        self._size = self.reports = 0
        self._append(kept)

    def first(self, most: int) -> list[Waiting]:
        """Return the oldest messages, at most this many."""
        return [Waiting(*row) for row in self._rows(f"LIMIT {int(most)}")]

    def _rows(self, limit: str) -> list[tuple[str, int, int, str]]:
        return self._database.execute(
            f"SELECT id, partition, count, reports FROM waiting ORDER BY number {limit}"  # noqa: S608  a number of ours
        ).fetchall()

    def delivered(self, messages: Iterable[Waiting]) -> None:
        """Forget messages that have arrived."""
        messages = list(messages)
        with self._database as connection:
            connection.executemany(
                "DELETE FROM waiting WHERE id = ?", [(one.id,) for one in messages]
            )
        self._size -= sum(len(one.reports) for one in messages)
        self.reports -= sum(one.count for one in messages)

    def close(self) -> None:
        self._database.close()


def _database(path: str) -> sqlite3.Connection:
    # Opened by the thread that starts the daemon, used by the link's
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
    except BaseException:
        database.close()
        raise
    return database
