"""
Results with their evidence as bytes: JSON, compressed. Pure.

Another version may have written other fields; what cannot be read is ignored.
"""

import json
import types
import typing
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from monitor.model import Result

_KIND = "kind"
"""The key that says which record a value is, if it may be one of several."""


def pack_evidence(result: Result) -> bytes:
    return zlib.compress(json.dumps(_plain(result), separators=(",", ":")).encode(), 1)


def unpack_evidence(data: bytes) -> Result:
    """Return the result; raises ValueError if this version does not know the bytes."""
    try:
        result: Result = _record(Result, json.loads(zlib.decompress(data)))
    except (zlib.error, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"evidence cannot be read: {error}") from error
    return result


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        found = {
            one.name: _plain(getattr(value, one.name))
            for one in fields(value)
            if one.repr and not _is_default(one, getattr(value, one.name))
        }
        return {_KIND: type(value).__name__, **found}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def _is_default(field: Any, value: Any) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    return field.default_factory is not MISSING and value == field.default_factory()


def _record(kind: type, form: Mapping[str, Any]) -> Any:
    shapes = _shapes(kind)
    return kind(
        **{name: _read(shapes[name], value) for name, value in form.items() if name in shapes}
    )


@cache
def _shapes(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(shape: Any, value: Any) -> Any:  # noqa: PLR0911  a flat list of kinds
    """Return a value decoded by its type."""
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _read_one_of(arguments, value)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004  tuple[X, ...]
            return tuple(_read(arguments[0], one) for one in value)
        return tuple(_read(kind, one) for kind, one in zip(arguments, value, strict=True))
    if origin is not None:  # a Mapping
        return {_read(arguments[0], key): _read(arguments[1], one) for key, one in value.items()}
    if shape is bytes:
        return bytes.fromhex(value)
    if isinstance(shape, type) and issubclass(shape, StrEnum):
        return shape(value)
    return _record(shape, value) if isinstance(shape, type) and is_dataclass(shape) else value


def _read_one_of(shapes: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, dict) and _KIND in value:
        for shape in shapes:
            if isinstance(shape, type) and shape.__name__ == value[_KIND]:
                return _record(shape, value)
    return _read(next(one for one in shapes if one is not type(None)), value)
