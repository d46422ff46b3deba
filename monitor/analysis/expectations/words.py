"""Values and words that several expectations share."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from monitor.options import Parsed

ALLOWED = "allowed"
"""The word for something that may be present or missing."""


def parsed(shape: Any, parse: Callable[[Any], Any], schema: Mapping[str, Any]) -> Any:
    """Return the form of a value that this function reads and this JSON Schema describes."""
    return Annotated[shape, Parsed(parse, schema)]


def parse_version(value: Any, name: str, known: tuple[str, ...]) -> str:
    """
    Read a version of a protocol of this name; quotes do not matter.

    Raises:
        ValueError: The version is not known.
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    bare = re.sub(rf"(?i)^{name}[ v/]*", "", text)
    for version in known:
        if bare in (version, version + ".0"):
            return version
    raise ValueError(f"{value!r} is not a version of {name}; there are {', '.join(known)}")


def either(values: tuple[str, ...]) -> str:
    return " or ".join(values)
