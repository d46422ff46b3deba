"""Puts pydantic's errors into our words."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from monitor.options import unknown

_MUST: Mapping[str, str] = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
}
_LONG = 60


def explain(error: ErrorDetails, keys: Collection[str], written: str | None = None) -> str:
    """
    Return the message of one error.

    Args:
        keys: The keys of the record around the error.
        written: The value as written in the file, if it is plain and may be shown.
    """
    match error["type"]:
        case "missing":
            return "must be given"
        case "unexpected_keyword_argument":
            return unknown("option", str(error["loc"][-1]), keys)
        case "value_error":  # raised by __post_init__
            return str(error["ctx"]["error"])
        case "wrong":  # raised by a function of forms.py
            return error["msg"]
        case kind:
            return _must(_MUST[kind], error["input"], written)


def describe(value: Any) -> str:
    """Return a value of the configuration as its author would name it."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def listed(names: Collection[str], conjunction: str) -> str:
    """Return ``a, b or c``."""
    *most, last = names
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def _must(must: str, value: Any, written: str | None) -> str:
    if value is None:
        return f"is empty; it {must}"
    if must == _MUST["string_type"] and isinstance(value, int | float):
        return f"{must}; put {written or describe(value)} in quotes"
    if must == _MUST["dict_type"] and isinstance(value, str):
        # A text instead of a section may be its only secret: a token, a webhook's URL
        return f"{must}, not text"
    return f"{must}, not {describe(value)}"
