"""Opens other programs' SQLite files, read only; every error is one sentence."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from monitor.config.files import check_readable, is_folder
from monitor.errors import ConfigError, Problem
from monitor.secrecy import hide_credentials

_MAGIC = b"SQLite format 3\x00"


def connect(source: str, wanted: str, example: str) -> sqlite3.Connection:
    """
    Open a file.

    Args:
        wanted: What it should be, for messages, such as ``Uptime Kuma's database``.
        example: The usual file name.

    Raises:
        ConfigError: It is not there, may not be read, or is not a whole SQLite database.
    """
    path = Path(source)
    if is_folder(path):
        raise _problem(source, f"is a folder; name the file in it, such as {path / example}")
    if "://" in source:
        raise _problem(source, f"is not a URL that leads to {wanted}; see monitor import --help")
    try:
        check_readable(path)
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        raise _problem(source, f"{error}; name {wanted}, such as {example}") from None
    if begin != _MAGIC:
        what = "is not an SQLite database" if begin else "is empty"
        raise _problem(source, f"{what}; name {wanted}, such as {example}")
    try:
        return _opened(path)
    except sqlite3.Error as error:
        raise _problem(source, explained(error)) from error


def explained(error: Exception) -> str:
    """Return what SQLite says about a file, and what to do about it."""
    if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
        return (
            "is damaged, or a part of a database"
            "; copy the whole by: sqlite3 ORIGINAL '.backup COPY'"
        )
    return f"cannot be read: {error}"


def _opened(path: Path) -> sqlite3.Connection:
    url = f"file:{quote(os.fspath(path))}?mode=ro"
    connection = sqlite3.connect(url, uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # A database in WAL mode needs files beside it, unless nobody writes to it
        connection.close()
        beside = path.with_name(f"{path.name}-wal")
        if beside.exists() and beside.stat().st_size:
            raise
        connection = sqlite3.connect(f"{url}&immutable=1", uri=True)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _problem(source: str, why: str) -> ConfigError:
    return ConfigError([Problem(hide_credentials(source), 1, 1, why)])
