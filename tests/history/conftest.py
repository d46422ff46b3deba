"""A store of each kind, empty, for each test."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.history.postgres import Postgres, required


@pytest.fixture(scope="session")
def postgres():
    required()
    with TemporaryDirectory(prefix="monitor-pg-") as folder:  # pytest's are their owner's alone
        server = Postgres(Path(folder))
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def store(request):
    """The value of ``history.store``; None is the SQLite file in the data folder."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres").database()
