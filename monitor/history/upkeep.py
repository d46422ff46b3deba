"""Maintains a store for commands: finds damage, and frees unused space."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Self

from sqlalchemy import Connection, Engine, select, text

from monitor.history import schema
from monitor.history.coarsening import first_of
from monitor.history.days import unpack_days
from monitor.history.evidence import unpack_evidence
from monitor.history.journal import Gathered
from monitor.history.ledger import size
from monitor.history.rollup import LEVELS, unpack_results, unpack_rollups
from monitor.history.store import require_current, told
from monitor.model import Bytes

_MOST = 100
"""The most problems to report: with more, one restores a backup."""


class Upkeep:
    """The upkeep of one store; each method raises HistoryError if it cannot be used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def size(self) -> Bytes:
        with told("the history cannot be read"), self._engine.connect() as connection:
            return size(connection)[0]

    def vacuum(self) -> None:
        with told("the history cannot be vacuumed"), self._engine.connect() as connection:
            require_current(connection)
            if connection.dialect.name == "sqlite":
                connection.rollback()
                raw = connection.connection.driver_connection
                assert raw is not None  # noqa: S101  it is connected
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                connection.rollback()
                connection.execution_options(isolation_level="AUTOCOMMIT")
                for table in schema.metadata.sorted_tables:
                    connection.execute(text(f'VACUUM "{table.name}"'))

    def problems(self) -> Iterator[str]:
        """Yield the problems, one sentence each."""
        with told("the history cannot be read"), self._engine.connect() as connection:
            require_current(connection)
            yield from islice(self._all(connection), _MOST)

    def _all(self, connection: Connection) -> Iterator[str]:
        if connection.dialect.name == "sqlite":
            for (said,) in connection.exec_driver_sql("PRAGMA integrity_check"):
                if said != "ok":
                    yield f"the file is damaged: {said}"
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                yield f"table {row[0]} has a row of a site that is not there"
        listed = connection.execute(select(schema.sites.c.id, schema.sites.c.name))
        names = {row.id: row.name for row in listed}
        yield from self._spans(connection, names)
        yield from self._packed(connection, names)

    def _spans(self, connection: Connection, names: Mapping[int, str]) -> Iterator[str]:
        table = schema.spans
        before: Any = None
        for row in connection.execute(
            select(table).order_by(table.c.site, table.c.track, table.c.begin)
        ):
            same = before is not None and (before.site, before.track) == (row.site, row.track)
            if same and (before.end is None or before.end > row.begin):
                yield f"site {names.get(row.site)!r}: two spans overlap at {row.begin}"
            if row.end is not None and row.end <= row.begin:
                yield f"site {names.get(row.site)!r}: a span ends before it begins, at {row.begin}"
            before = row

    def _packed(self, connection: Connection, names: Mapping[int, str]) -> Iterator[str]:
        levels = {level.number: level for level in LEVELS}

        def read_rollup(row: Any) -> None:
            unpack_rollups(first_of(levels[row.level], row.block), bytes(row.data))

        checks = (
            (schema.results, lambda row: list(unpack_results(row.begin, bytes(row.data)))),
            (schema.rollups, read_rollup),
            (schema.days, lambda row: unpack_days(bytes(row.data))),
            (schema.failures, lambda row: unpack_evidence(bytes(row.data))),
        )
        for table, read in checks:
            for row in connection.execute(select(table)):
                try:
                    read(row)
                except (ValueError, KeyError) as error:
                    yield f"site {names.get(row.site)!r}: {table.name} cannot be read: {error}"
        for row in connection.execute(select(schema.journal)):
            try:
                Gathered.from_bytes(bytes(row.data))
            except ValueError as error:
                yield f"row {row.seq} of the journal cannot be read: {error}"
