"""Assert that an optional part of a record is there, and return it with its own type."""

from typing import TypeVar

from monitor.model import Answer, Observation

Kind = TypeVar("Kind", bound=Answer)
Known = TypeVar("Known")


def known(value: Known | None) -> Known:
    """Return a value that must not be None."""
    assert value is not None
    return value


def answer_of(seen: Observation, kind: type[Kind]) -> Kind:
    """Return the answer, which must be of this kind."""
    assert isinstance(seen.answer, kind), seen
    return seen.answer
