"""Evidence comes out of the store as it went in, for every kind of answer."""

import json
import types
import typing
import zlib
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum

import pytest

from monitor.history.evidence import pack_evidence, unpack_evidence
from monitor.model import Answer, Observation, Result
from tests.builders import down_result, site

PLAIN = {str: "é|\x00 text", bytes: b"\xff\x00", bool: True, int: 7, float: 1.5}


def full(shape):
    """Return a value of a type in which no field has its default."""
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin in (typing.Union, types.UnionType):
        made = full(next(one for one in arguments if one is not type(None)))
    elif origin is typing.Literal:
        made = arguments[-1]
    elif origin is tuple:
        made = tuple(map(full, arguments[:1] * 2 if arguments[-1] is Ellipsis else arguments))
    elif origin is not None:  # a Mapping
        made = {full(arguments[0]): full(arguments[1])}
    elif is_dataclass(shape):
        made = filled(shape)
    else:
        made = list(shape)[-1] if issubclass(shape, Enum) else PLAIN[shape]
    return made


def filled(shape, **values):
    """Return a filled record; a field that is not shown is not kept, and has its default."""
    hints = typing.get_type_hints(shape)
    shown = [one for one in fields(shape) if one.init and (one.repr or not has_default(one))]
    return shape(**{one.name: full(hints[one.name]) for one in shown} | values)


def has_default(one):
    return one.default is not MISSING or one.default_factory is not MISSING


@pytest.mark.parametrize("kind", typing.get_args(Answer), ids=lambda kind: kind.__name__)
def test_every_kind_of_answer_survives(kind):
    """Each field of each record keeps its value and type: number, text, bytes, tuple or record."""
    told = filled(Result, observation=filled(Observation, answer=filled(kind)))
    found = unpack_evidence(pack_evidence(told))
    assert found == told
    assert repr(found) == repr(told)


def test_evidence_of_another_version_is_read_as_far_as_it_is_known():
    """A field that this version does not have is left out; damage is reported."""
    packed = pack_evidence(down_result(site()))
    form = json.loads(zlib.decompress(packed))
    form["observation"]["colour"] = {"red": 1}
    newer = zlib.compress(json.dumps(form).encode())
    assert unpack_evidence(newer) == down_result(site())
    with pytest.raises(ValueError, match="evidence cannot be read"):
        unpack_evidence(packed[:-8])
