"""Messages to send are stored beside the states they are about, in the same transactions."""

import pytest

from monitor.model import Status
from tests.builders import down_result, site
from tests.history.lives import World

FIRST, SECOND = ("topic", '["shop", "SiteDown", ""]'), ("message", "key-1")


@pytest.fixture
def world(tmp_path, store):
    world = World(tmp_path, store)
    yield world
    world.close()


def owed(world) -> dict[tuple[str, str], tuple[str, bytes]]:
    found = world.writer.owed()
    world.turn()
    return {(row.kind, row.key): (row.seat, row.data) for row in found.result(0)}


def test_rows_are_written_with_the_state_before_them(world):
    """A daemon that ends after the write leaves both; one that ends before it leaves neither."""
    listed = site()
    world.start(listed)
    world.turn()
    world.enter(down_result(listed, time=world.clock.time()))
    kept = world.writer.keep({FIRST: b"told", SECOND: b"waits"})
    assert not kept.done()
    world.turn()
    assert kept.result(0) is True
    world.enter(down_result(listed, time=world.clock.time()))
    world.writer.keep({FIRST: b"lost with its life"})
    world.kill()
    world.start(listed)
    assert world.states["shop"].status is Status.DOWN
    assert owed(world) == {FIRST: ("1/1", b"told"), SECOND: ("1/1", b"waits")}


def test_a_row_is_replaced_and_goes(world):
    """Its kind and key identify it, whichever daemon wrote it."""
    world.start(site())
    world.writer.keep({FIRST: b"1", SECOND: b"2"})
    world.writer.keep({FIRST: b"3"})
    world.turn()
    world.stop()
    world.start(seat="1/2")
    world.writer.keep({SECOND: None})
    assert owed(world) == {FIRST: ("1/1", b"3")}


def test_nobody_waits_for_a_store_that_is_away(world, monkeypatch):
    """The answer is an immediate no; the rows follow when the store is back."""
    world.start(site())
    opened = world.writer._open_store

    def away():
        raise OSError("no space left on device")

    world.writer._engine.dispose()
    world.writer._engine = None
    monkeypatch.setattr(world.writer, "_open_store", away)
    for _ in range(2):
        kept = world.writer.keep({FIRST: b"told"})
        world.turn()
        assert kept.result(0) is False
    monkeypatch.setattr(world.writer, "_open_store", opened)
    world.pass_time(10)
    assert owed(world) == {FIRST: ("1/1", b"told")}
