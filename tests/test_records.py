"""Records that are made for each check: equal by value, and small on their way to a worker."""

import dataclasses
import pickle

import pytest

from monitor.model import Failure, HttpAnswer, Reason
from monitor.records import replace


def answer(**changes):
    return HttpAnswer(**{"status": 200, "version": "1.1", "body": b"hello", **changes})


def test_records_compare_by_value():
    """Two that say the same are equal and have one hash; one field makes them differ."""
    assert answer() == answer()
    assert hash(answer()) == hash(answer())
    assert answer() != answer(status=404)
    assert Failure(Reason.BODY, "no") == Failure(Reason.BODY, message="no")


def test_a_record_arrives_as_it_was_sent():
    """Pickled and back, every field has its value, those by default included."""
    sent = answer(headers=(("Server", "nginx"),), truncated=True)
    assert pickle.loads(pickle.dumps(sent)) == sent  # noqa: S301  our own


def test_a_record_travels_without_the_names_of_its_fields():
    """What happens twice in each check carries values alone."""
    assert b"content_length" not in pickle.dumps(answer())


def test_no_field_can_be_added():
    """A mistyped name is an error and no new field."""
    with pytest.raises(AttributeError):
        answer().statsu = 404


def test_a_changed_copy_is_the_one_that_dataclasses_make():
    """Each field is taken over unless another value is given; what was copied stays as it was."""
    sent = answer(headers=(("Server", "nginx"),), truncated=True)
    for changes in (
        {},
        {"body": b""},
        {"status": 404, "headers": ()},
        {"url": "", "redirects": ()},
    ):
        assert replace(sent, **changes) == dataclasses.replace(sent, **changes)
    assert sent == answer(headers=(("Server", "nginx"),), truncated=True)


def test_a_copy_with_a_mistyped_field_is_refused():
    """The name is in the error; nothing is copied."""
    with pytest.raises(TypeError, match="statsu"):
        replace(answer(), statsu=404)
