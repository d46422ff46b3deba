"""
Uptime Kuma's database: an SQLite file, or MySQL and MariaDB.

Versions differ in their columns, so whole rows are read, and columns that a version does not have
are missing.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from monitor.errors import ConfigError, MonitorError, Problem
from monitor.importers.sqlite import connect, explained
from monitor.secrecy import hide_credentials

_SCHEMES = ("mysql", "mariadb")
_PORT = 3306
_AT_ONCE = 5000


Links: TypeAlias = list[tuple[int, int]]


class Database:
    """
    The tables, read only.

    Attributes:
        shown: Its location, without a password.
    """

    def __init__(self, connection: Any, shown: str) -> None:
        self._connection = connection
        self.shown = shown

    def rows(self, table: str, order: str = "id") -> list[dict[str, Any]]:
        """Return the rows of a table; empty if this version has no such table."""
        question = f"SELECT * FROM `{table}` ORDER BY `{order}`"  # noqa: S608  names of ours
        return list(self.each(question, missing=True))

    def links(self, table: str, first: str, second: str, order: str = "id") -> Links:
        """Return the rows of a table that links two others, as pairs of their numbers."""
        pairs = ((number(row, first), number(row, second)) for row in self.rows(table, order))
        return [(one, other) for one, other in pairs if one is not None and other is not None]

    def each(self, question: str, *, missing: bool = False) -> Iterator[dict[str, Any]]:
        """
        Yield the rows of an answer.

        Args:
            missing: Whether the table may be missing.

        Raises:
            ConfigError: The database cannot be read.
        """
        cursor = self._connection.cursor()
        try:
            cursor.execute(question)
        except self._connection.Error as error:
            if missing and _is_missing(error):
                return
            raise _problem(self.shown, error) from error
        names = [column[0] for column in cursor.description]
        while some := self._fetched(cursor):
            for row in some:
                yield dict(zip(names, row, strict=True))

    def _fetched(self, cursor: Any) -> list[Any]:
        try:
            return list(cursor.fetchmany(_AT_ONCE))
        except self._connection.Error as error:  # a damaged file is detected here
            raise _problem(self.shown, error) from error


def is_url(source: str) -> bool:
    return urlsplit(source).scheme in _SCHEMES


@contextmanager
def opened(source: str) -> Iterator[Database]:
    """
    Open a database: the path of a file, or ``mysql://USER:PASSWORD@HOST/DATABASE``.

    Raises:
        ConfigError: It cannot be read, or is not Uptime Kuma's.
    """
    shown = hide_credentials(source)
    if is_url(source):
        connection = _connect_mysql(source)
    else:
        connection = connect(source, "Uptime Kuma's database", "kuma.db")
    try:
        database = Database(connection, shown)
        if not _is_kumas(database):
            why = "is a database of another program; name Uptime Kuma's, such as kuma.db"
            raise ConfigError([Problem(shown, 1, 1, why)])
        yield database
    finally:
        connection.close()


def _is_kumas(database: Database) -> bool:
    try:
        first = next(database.each("SELECT * FROM `monitor` LIMIT 1", missing=True), None)
        list(
            database.each("SELECT `push_token`, `accepted_statuscodes_json` FROM `monitor` LIMIT 1")
        )
    except ConfigError as error:
        if (
            "no such" in str(error)
            or "Unknown column" in str(error)
            or "doesn't exist" in str(error)
        ):
            return False
        raise
    return first is None or "push_token" in first


def _connect_mysql(source: str) -> Any:
    try:
        import pymysql  # noqa: PLC0415  an extra
    except ModuleNotFoundError:
        raise MonitorError(
            "a database of MySQL or MariaDB needs PyMySQL: install website-monitor[mysql]"
        ) from None
    parts = urlsplit(source)
    try:
        return pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or _PORT,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/"),
            charset="utf8mb4",
            connect_timeout=10,
        )
    except (pymysql.Error, ValueError) as error:
        raise _problem(hide_credentials(source), error) from error


def _is_missing(error: Exception) -> bool:
    text = str(error)
    return "no such table" in text or "doesn't exist" in text


def _problem(shown: str, error: Exception) -> ConfigError:
    if isinstance(error, sqlite3.Error):
        return ConfigError([Problem(shown, 1, 1, explained(error))])
    said = error.args[-1] if error.args else error
    return ConfigError([Problem(shown, 1, 1, f"cannot be read: {said}")])


def setting(database: Database, key: str) -> str | None:
    """Return a setting, which is stored as JSON; None if it is not set."""
    for row in database.rows("setting"):
        if row.get("key") == key and row.get("value"):
            return str(row["value"]).strip('"')
    return None


def number(row: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number; None if the column is missing or has none."""
    value: Any = row.get(key)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def flag(row: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Return a boolean, which databases store as a number."""
    found = number(row, key)
    return default if found is None else bool(found)
