"""When the collector searches for reference cycles, and in how many objects at a time."""

import gc

import pytest

from monitor.engine.garbage import ALL, YOUNG, Garbage
from tests.fakes import FakeClock


class EmptySearch:
    """
    A search that finds nothing and remembers which generations it searched.

    Attributes:
        takes: Seconds that a search through everything takes.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.searched: list[int] = []
        self.takes = 0.0
        self.garbage = Garbage(self.clock, self._search)

    def _search(self, generation: int) -> None:
        self.searched.append(generation)
        self.clock.advance(self.takes if generation == ALL else 0.0)

    def turn(self, seconds: float, *, step: float = 0.01) -> None:
        """Let the loop turn for this long."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.garbage.step()
            self.clock.advance(step)


@pytest.fixture
def rig():
    return EmptySearch()


def test_what_is_new_is_searched_often(rig):
    """Small steps run some twenty times a second, however often the loop turns."""
    rig.turn(10.0)
    assert 150 <= rig.searched.count(YOUNG) <= 201
    assert rig.searched.count(ALL) == 0


def test_everything_is_searched_now_and_then(rig):
    """A cycle whose objects were in use while young is found within a quarter of an hour."""
    rig.turn(3600.0, step=1.0)
    assert rig.searched.count(ALL) == 3


def test_a_long_search_is_a_rare_one(rig):
    """Full searches take no more than a ten-thousandth of the time."""
    rig.takes = 1.0
    rig.turn(25_000.0, step=1.0)
    assert rig.searched.count(ALL) == 3


def test_nothing_is_searched_while_a_list_is_read(rig):
    """A list that is being read holds no cycles, and a search would stop all threads."""
    gc.disable()
    try:
        rig.turn(1.0)
    finally:
        gc.enable()
    assert rig.searched == []
    rig.turn(0.1)
    assert rig.searched


def test_the_real_search_finds_cycles():
    """A cycle that nothing refers to is gone after a step, and one that is referred to stays."""

    class Node:
        alive = 0

        def __init__(self):
            Node.alive += 1
            self.itself = self

        def __del__(self):
            Node.alive -= 1

    clock = FakeClock()
    garbage = Garbage(clock)
    kept = Node()
    for _ in range(100):
        Node()
        clock.advance(0.1)
        garbage.step()
    assert Node.alive == 1
    assert kept.itself is kept
