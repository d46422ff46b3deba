"""The tables of a new store, and what the migrations make of an older one."""

from contextlib import contextmanager

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from monitor.history.schema import REVISION, metadata
from monitor.history.store import connect, migrate, require_current, store_url, upgrade


@contextmanager
def begun(tmp_path, store):
    engine = connect(store_url(store, tmp_path), writes=True)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def index(one):
    only = {name: str(value) for name, value in one["dialect_options"].items()}
    return one["name"], tuple(one["column_names"]), one["unique"], sorted(only.items())


def described(connection):
    """Return everything that the database reports about its tables."""
    found = inspect(connection)
    return {
        name: (
            [(one["name"], str(one["type"]), one["nullable"]) for one in found.get_columns(name)],
            found.get_pk_constraint(name),
            sorted(map(str, found.get_foreign_keys(name))),
            sorted(map(index, found.get_indexes(name))),
            found.get_table_options(name),
        )
        for name in found.get_table_names()
    }


def test_migrations_lead_to_the_tables_of_a_new_store(tmp_path, store, request):
    """Step by step or all at once, tables, columns, keys and indexes are the same."""
    other = store and request.getfixturevalue("postgres").database()
    (tmp_path / "other").mkdir()
    with begun(tmp_path, store) as connection:
        migrate(connection)
        new = described(connection)
        require_current(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with begun(tmp_path / "other", other) as connection:
        upgrade(connection)
        assert described(connection) == new
        assert connection.exec_driver_sql("SELECT * FROM alembic_version").all() == [(REVISION,)]
