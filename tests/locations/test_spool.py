"""What a place keeps while it is cut off."""

import sqlite3

import pytest

from monitor.locations.spool import Spool, Waiting


def waiting(number: int, size: int = 10) -> Waiting:
    return Waiting(f"run-{number}", number % 3 + 1, 2, "x" * size)


@pytest.mark.parametrize("persistent", [True, False])
def test_messages_leave_in_the_order_they_came(tmp_path, persistent):
    """They leave only once they have arrived."""
    spool = Spool(tmp_path if persistent else None, 1000)
    spool.put([waiting(1), waiting(2)])
    spool.put([waiting(3)])
    assert spool.reports == 6
    assert spool.first(2) == [waiting(1), waiting(2)]
    spool.delivered([waiting(1)])
    assert spool.first(9) == [waiting(2), waiting(3)]
    spool.close()


def test_it_survives_its_daemon(tmp_path):
    """After a restart, the spool has what could not be delivered before it."""
    spool = Spool(tmp_path, 1000)
    spool.put([waiting(1), waiting(2)])
    spool.close()
    spool = Spool(tmp_path, 1000)
    assert (spool.reports, spool.first(9)) == (4, [waiting(1), waiting(2)])
    spool.close()


def test_the_oldest_go_first_where_there_are_too_many():
    """The spool is bounded and says how much was lost."""
    spool = Spool(None, 100)
    for number in range(25):
        spool.put([waiting(number)])
    assert [one.id for one in spool.first(99)] == [f"run-{number}" for number in range(15, 25)]
    assert (spool.reports, spool.dropped) == (20, 30)
    spool.put([waiting(99, size=101)])
    assert (spool.first(9), spool.reports, spool.dropped) == ([], 0, 52)
    spool.close()


def test_a_folder_that_cannot_be_used_costs_nothing_but_the_file(tmp_path):
    """Waiting messages are kept in memory instead."""
    (tmp_path / "data").write_text("mine")
    spool = Spool(tmp_path / "data", 1000)
    spool.put([waiting(1)])
    assert spool.first(9) == [waiting(1)]
    spool.close()


def test_a_file_that_fails_later_is_left(tmp_path):
    """Work continues in memory, with whatever can still be read."""
    spool = Spool(tmp_path, 1000)
    spool.put([waiting(1)])
    with sqlite3.connect(tmp_path / "reports.db") as other:
        other.execute("DROP TABLE waiting")
    other.close()
    spool.put([waiting(2)])
    assert spool.first(9) == [waiting(2)]
    assert spool.dropped == 2
    spool.close()
