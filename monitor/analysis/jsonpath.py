"""
Paths into JSON documents: the part of JSONPath (RFC 9535) that picks exactly one value.

``$.a.b[0]["c d"]``: names after a dot, or quoted in brackets; indexes, negative ones from the end.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from monitor.analysis.text import plain

_STEP = re.compile(
    r"""
    \.(?P<name>[^\s.\[\]"'*?@$:,()]+)
    | \[(?P<index>-?\d{1,9})\]
    | \["(?P<double>(?:[^"\\]|\\.)*)"\]
    | \['(?P<single>(?:[^'\\]|\\.)*)'\]
    """,
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that was read: its text, for messages, and the members and elements to go through."""

    text: str
    steps: tuple[str | int, ...]

    def find(self, document: Any) -> Any:
        """
        Return the value at this path.

        Raises:
            LookupError: The value is missing; the message is a clause on where the path ends.
        """
        value = document
        for taken, step in enumerate(self.steps):
            if isinstance(step, str):
                there = isinstance(value, dict) and step in value
            else:
                there = isinstance(value, list) and -len(value) <= step < len(value)
            if not there:
                raise LookupError(_why_missing(self.steps[:taken], step, value))
            value = value[step]
        return value


def parse_path(text: str) -> JsonPath:
    """
    Read a path.

    Raises:
        ValueError: The text is not a path, or the path may pick several values.
    """
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is not a path; it starts with $, as in $.status or $.items[0]")
    steps: list[str | int] = []
    place = 1
    while place < len(text):
        step = _STEP.match(text, place)
        if not step:
            raise ValueError(
                f"{text!r} is not a path from its character {place + 1} on; a step is .name, "
                '["name"] or [0], and CEL (under that) does what takes more'
            )
        place = step.end()
        if step["index"]:
            steps.append(int(step["index"]))
        else:
            quoted = step["double"] if step["double"] is not None else step["single"]
            steps.append(step["name"] if quoted is None else _ESCAPED.sub(r"\1", quoted))
    return JsonPath(text, tuple(steps))


def _why_missing(taken: tuple[str | int, ...], step: str | int, value: Any) -> str:
    parent = plain("$" + "".join(_show(one) for one in taken))
    if isinstance(step, str) and isinstance(value, dict):
        return f"{parent} has no {json.dumps(step, ensure_ascii=False)}"
    if isinstance(step, int) and isinstance(value, list):
        return f"the length of {parent} is {len(value)}"
    return f"{parent} is of type {type_name(value)}"


def _show(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{json.dumps(step, ensure_ascii=False)}]"


def type_name(value: Any) -> str:
    """Return JSON's name for the type of a value: ``null``, ``boolean``, …, ``object``."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"
