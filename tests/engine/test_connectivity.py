"""When the monitor considers its own connection lost, and what it does then."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.engine.connectivity import Connectivity
from tests.builders import site

A, B = site("a"), site("b")


@pytest.fixture
def two():
    connectivity = Connectivity()
    connectivity.change((A, B))
    return connectivity


def begin(connectivity, now):
    """Begin a round if one is due; return the targets that are asked now."""
    connectivity.begin_if_due(now)
    asked = []
    while target := connectivity.next_target(now):
        asked.append(target)
    return asked


def test_one_answer_decides(two):
    """The connection is up with the first answer, from the beginning of the round."""
    assert begin(two, 5.0) == [A, B]
    assert two.on_asked(B, 5.2, answered=True)
    assert (two.up, two.proven) == (True, 5.0)
    assert not two.on_asked(A, 9.0, answered=False)
    assert two.up


def test_the_last_silence_decides(two):
    """It is lost once all targets were silent, and is tested again sooner than usual."""
    begin(two, 5.0)
    assert not two.on_asked(A, 6.0, answered=False)
    assert two.up is None
    assert two.on_asked(B, 10.0, answered=False)
    assert two.up is False
    assert two.next_due() == 12.0


def test_who_asks_gets_a_round_that_begins_later(two):
    """However often it is requested, rounds are at least a second apart."""
    begin(two, 5.0)
    two.ask(5.1)
    assert two.next_due() is None
    two.on_asked(A, 5.2, answered=True)
    two.ask(5.2)
    two.ask(5.3)
    assert two.next_due() == 6.0
    assert begin(two, 5.9) == []
    assert begin(two, 6.0) == [A]  # B still has to answer in the round before


def test_an_answer_to_an_earlier_round_is_asked_for_again(two):
    """A late answer shows how the connection was then; a silence shows it up to now."""
    begin(two, 5.0)
    two.on_asked(A, 5.2, answered=True)
    two.ask(6.0)
    begin(two, 6.0)
    assert not two.on_asked(A, 6.1, answered=False)
    assert not two.on_asked(B, 6.2, answered=True)
    assert begin(two, 6.2) == [B]
    assert two.on_asked(B, 6.3, answered=False)
    assert two.up is False


def test_a_target_of_an_earlier_list_has_no_say(two):
    """Its silence counts once, for an equal target of the new list; each new one is waited for."""
    begin(two, 5.0)
    again, other = site("a"), site("c")
    two.change((again, other))
    assert begin(two, 6.0) == [again, other]
    assert not two.on_asked(A, 10.0, answered=False)
    assert not two.on_asked(again, 11.0, answered=False)
    assert two.up is None
    assert two.on_asked(other, 11.1, answered=True)
    assert two.up is True


def test_other_targets_are_asked_at_once(two):
    """Answers of former targets do not count any more."""
    begin(two, 5.0)
    other = site("c")
    two.change((other,))
    assert two.up is None
    assert begin(two, 5.1) == [other]
    assert not two.on_asked(A, 5.2, answered=True)
    assert two.up is None
    assert two.busy
    assert two.on_asked(other, 5.3, answered=False)
    two.change(())
    assert two.next_due() is None


class Cable(RuleBasedStateMachine):
    """A cable that is pulled and put back; targets answer by its state while they were asked."""

    def __init__(self):
        super().__init__()
        self.connectivity = Connectivity()
        self.connectivity.change((A, B))
        self.now = 0.0
        self.lies = True
        self.asked = {}

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def pass_time(self, seconds):
        self.now += seconds
        for target in begin(self.connectivity, self.now):
            self.asked[target.name] = (target, self.now)

    @rule()
    def turn(self):
        self.lies = not self.lies
        self.now += 0.01

    @rule()
    def ask(self):
        self.connectivity.ask(self.now)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def come_back(self, data):
        name = data.draw(st.sampled_from(sorted(self.asked)))
        target, since = self.asked.pop(name)
        assert self.connectivity.is_asked(target)
        before = self.connectivity.proven
        self.connectivity.on_asked(target, self.now, answered=self.lies)
        if self.connectivity.proven > before:
            assert self.lies, "proven by a silence"
            assert since >= self.connectivity.proven, "proven by an answer to an earlier round"

    @invariant()
    def somebody_is_asked_or_will_be(self):
        due = self.connectivity.next_due()
        # Private, because next_target() is the only public view of what waits, and it takes one
        assert due is not None or self.connectivity.busy or self.connectivity._waiting
        assert due is None or due <= self.now + 10.0


Cable.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestCable = Cable.TestCase
