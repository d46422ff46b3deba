"""Records made for each check: they compare by value, and are small on their way to a worker."""

import dataclasses
import pickle

import pytest

from monitor.model import Failure, HttpAnswer, Reason
from monitor.records import replace


def answer(**changes):
    return HttpAnswer(**{"status": 200, "version": "1.1", "body": b"hello", **changes})


def test_records_compare_by_value():
    """Two records with the same values are equal and have one hash; any other value differs."""
    assert answer() == answer()
    assert hash(answer()) == hash(answer())
    assert answer() != answer(status=404)
    assert Failure(Reason.BODY, "no") == Failure(Reason.BODY, message="no")


def test_a_record_arrives_as_it_was_sent():
    """A pickled record comes back with every field's value, defaults included."""
    sent = answer(headers=(("Server", "nginx"),), truncated=True)
    assert pickle.loads(pickle.dumps(sent)) == sent  # noqa: S301  the test made it


def test_a_record_travels_without_the_names_of_its_fields():
    """A record made twice in each check is pickled with its values only."""
    assert b"content_length" not in pickle.dumps(answer())


def test_no_field_can_be_added():
    """Setting a mistyped field is an error, and adds no field."""
    with pytest.raises(AttributeError):
        answer().statsu = 404


def test_a_changed_copy_is_the_one_that_dataclasses_make():
    """A copy takes over each field without a new value, and leaves the original as it was."""
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
    """The error has the mistyped name, and no copy is made."""
    with pytest.raises(TypeError, match="statsu"):
        replace(answer(), statsu=404)
