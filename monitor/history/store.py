"""
The store: an SQLite file or a PostgreSQL database; opens and migrates it, and explains its errors.

SQLite runs in WAL mode, so readers and the writer do not wait for each other. The writer takes its
lock when a transaction begins: a transaction that reads first and writes later fails at once if
somebody wrote in between, however long it would have been willing to wait.
"""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)

from monitor.errors import HistoryError
from monitor.history.folder import is_at
from monitor.history.schema import REVISION, metadata
from monitor.model import Seconds

Store: TypeAlias = Engine
"""Creates the connections to a store."""

FILE = "history.db"
"""The file in the data folder, unless the history is elsewhere."""

_OPENED = "file"
"""The key in a connection's record for the file that it opened."""
_LOGGED = "log"
"""The key for the write-ahead log beside the file, once there is one."""
_PATIENCE: Seconds = 30.0
"""How long to wait for a lock, held for example by a vacuum or another command."""
_CONNECT: Seconds = 5.0
_READ_REVISION = text("SELECT version_num FROM alembic_version")
# As Alembic makes it
_CREATE_REVISION = text(
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_WRITE_REVISION = text("INSERT INTO alembic_version (version_num) VALUES (:revision)")
_MIGRATION_LOCK = 0x6D6F6E69
"""PostgreSQL's advisory lock under which one daemon migrates while others wait."""


def store_url(store: str | None, folder: Path | None) -> URL:
    """
    Return the URL of the history's store.

    Args:
        store: The configured store; None for a file in the folder.

    Raises:
        HistoryError: There is no folder for the file, or the kind of store is unknown.
    """
    if store is None:
        if folder is None:
            raise HistoryError("there is no data folder, so there is no history; say --data DIR")
        return URL.create("sqlite+pysqlite", database=str(folder / FILE))
    return make_url(store).set(drivername="postgresql+psycopg")


def connect(url: URL, *, writes: bool, silence: Seconds = math.inf) -> Engine:
    """
    Return the engine for a store; it does not connect yet.

    Args:
        writes: Whether it may change the store.
        silence: How long a PostgreSQL server may stay silent while we wait for its answer.

    Raises:
        HistoryError: The driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writes=writes)
    return _postgresql(url, writes=writes, silence=silence)


def _postgresql(url: URL, *, writes: bool, silence: Seconds) -> Engine:
    limits = "" if writes else " -c statement_timeout=20000 -c default_transaction_read_only=on"
    try:
        from monitor.history.postgres import WatchedConnection  # noqa: PLC0415  a library of its own

        engine = create_engine(
            url,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": int(_CONNECT),
                "application_name": "website-monitor",
                "options": f"-c lock_timeout={int(_PATIENCE * 1000)}{limits}",
            },
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise HistoryError(
            "history.store is a PostgreSQL database, which needs psycopg: install "
            "website-monitor[postgres]"
        ) from error

    @event.listens_for(engine, "do_connect")
    def open_watched(_: Any, __: Any, arguments: Any, options: Any) -> WatchedConnection:
        connection = WatchedConnection.connect(*arguments, **options)
        connection.silence = silence
        return connection

    return engine


def _sqlite(url: URL, *, writes: bool) -> Engine:
    file = Path(url.database or "")
    log = _log_of(file)
    if writes:
        file.touch(mode=0o600)
    else:
        # A query must not create a missing file
        database = f"file:{quote(url.database or '')}"
        url = url.set(database=database, query={"mode": "rw", "uri": "true"})
    engine = create_engine(
        url,
        # Only SQLAlchemy and we begin transactions; none begins by itself
        connect_args={
            "timeout": _PATIENCE,
            "check_same_thread": False,
            "isolation_level": None,
        },
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        pragmas = (
            ["auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL"]
            if writes
            else ["query_only=ON"]
        )
        cursor = connection.cursor()
        for pragma in (*pragmas, "foreign_keys=ON", "journal_size_limit=16777216"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        record.info[_OPENED] = file.stat()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _: Any) -> None:
        # SQLite itself continues with removed files, and everything that it writes is lost
        lost = _lost(file, record.info)
        if lost is None:
            return
        if not writes:
            raise DisconnectionError
        if lost == log:  # this connection can still read what only the removed log has
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if lost == file and _is_empty(file):
            _set_aside(file)
            raise HistoryError(f"{file} was emptied while it was in use")
        raise HistoryError(f"{lost} was removed or replaced while it was in use")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _log_of(file: Path) -> Path:
    return Path(f"{file}-wal")


def _lost(file: Path, known: dict[str, os.stat_result]) -> Path | None:
    """Return the database, or its log, if it is no longer the one that the connection opened."""
    opened, log = known[_OPENED], _log_of(file)
    if not is_at(file, opened) or (opened.st_size and _is_empty(file)):
        return file
    if _LOGGED not in known and log.exists():
        known[_LOGGED] = log.stat()
    return log if _LOGGED in known and not is_at(log, known[_LOGGED]) else None


def _is_empty(file: Path) -> bool:
    try:
        return not file.stat().st_size
    except OSError:
        return False


def _set_aside(file: Path) -> None:
    """
    Rename an emptied database and its log, so that a new one can be created.

    Otherwise, the process that closes the database last writes the content of the log into the
    empty file, which creates a database with holes. SQLite leaves files alone that were moved.
    """
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{file}{end}").rename(f"{file}.emptied{end}")


def migrate(connection: Connection) -> None:
    """
    Upgrade the tables, in the transaction of the connection.

    A new store gets its tables in their present form. Alembic upgrades older ones, and is loaded
    only for that, because it takes 12 MB.

    Raises:
        HistoryError: A newer version of this program created them, or they are not ours.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    revision = _revision(connection)
    if revision == REVISION:
        return
    if revision is None and set(inspect(connection).get_table_names()) & set(metadata.tables):
        raise HistoryError(
            f"{connection.engine.url.database} holds other tables of the same names; give the "
            "history a database of its own"
        )
    if revision is None:
        metadata.create_all(connection)
        connection.execute(_CREATE_REVISION)
        connection.execute(_WRITE_REVISION, {"revision": REVISION})
    elif revision > REVISION:
        raise newer(connection, revision)
    elif connection.dialect.name == "postgresql":
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  it is connected
        # The server is silent for as long as a step takes
        silence, driver.silence = driver.silence, math.inf
        try:
            upgrade(connection)
        finally:
            driver.silence = silence
    else:
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run every step of migrations/ that the tables lack."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic.config import Config  # noqa: PLC0415  see above
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415  see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415  see above

    script = ScriptDirectory(str(Path(__file__).with_name("migrations")))

    def steps(before: Any, _: Any) -> Any:
        return script._upgrade_revs("head", before)  # noqa: SLF001  as alembic.command.upgrade

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()


def require_current(connection: Connection) -> None:
    """Raise HistoryError if this version cannot read the tables."""
    try:
        # Not _revision(): checking first whether the table exists takes longer than any answer
        revision = connection.execute(_READ_REVISION).scalar()
    except ProgrammingError:  # in PostgreSQL: no such table
        revision = None
    except OperationalError:  # in SQLite: no such table, or something worse
        revision = _revision(connection)
    if revision is None:
        raise HistoryError(f"{connection.engine.url.database} holds no history of this monitor")
    if revision > REVISION:
        raise newer(connection, revision)
    if revision < REVISION:
        raise HistoryError(
            f"the history is of an older version (schema {revision}); a start of `monitor run` "
            "brings it up to date"
        )


def newer(connection: Connection, revision: str) -> HistoryError:
    return HistoryError(
        f"the history in {connection.engine.url.render_as_string()} was written by a newer version "
        f"of this program (schema {revision}, this one knows {REVISION}); run that version, or "
        "name another store"
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_READ_REVISION).scalar()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what a database, a driver or the system says into our error."""
    try:
        yield
    except (DBAPIError, OSError) as error:
        raise HistoryError(f"{what}: {sentence(error)}") from error


def sentence(error: BaseException) -> str:
    """Return the message of a driver or the system, on one line and without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
