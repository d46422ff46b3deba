"""Values as Go reads them: durations, booleans, whole numbers, shell globs; and fields by name."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from monitor.importers.draft import resolved
from monitor.importers.values import quoted
from monitor.units import Seconds

_UNITS: Mapping[str, Seconds] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(?:0|(?:{_PART.pattern})+)")
_YES = frozenset({"y", "yes", "on", "true"})
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_MOST = 2**63


def parse_duration(text: str) -> Seconds | None:
    """Return the seconds of a Go duration such as ``1h30m``; None for any other text."""
    if not _DURATION.fullmatch(text):
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def parse_bool(text: str) -> bool:
    return text.strip().lower() in _YES


def parse_int(text: str) -> int | None:
    """Return a whole number as strconv.ParseInt reads it with base 0; None for any other text."""
    if not _INTEGER.fullmatch(text):
        return None
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbBoO"
    number = sign * (int(digits, 8) if octal else int(digits, 0))
    return number if -_MOST <= number < _MOST else None


def glob_pattern(glob: str) -> str:
    """Return the RE2 pattern of a shell glob, without anchors."""
    out, at = [], 0
    while at < len(glob):
        char = glob[at]
        at += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "\\" and at < len(glob):
            out.append(quoted(glob[at]))
            at += 1
        elif char == "[" and (end := glob.find("]", at + 1)) > 0:
            out.append(f"[{glob[at:end]}]")
            at = end + 1
        else:
            out.append(quoted(char))
    return re.sub(r"(?:\.\*){2,}", ".*", "".join(out))


class Fields:
    """
    The fields of a mapping, each taken once, so that fields which nobody took can be reported.

    Args:
        path: The path of the mapping, such as ``client.tls``.
        environ: The variables with which Gatus would run.
    """

    def __init__(
        self, value: Any, path: str = "", environ: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._left = dict(value) if isinstance(value, Mapping) else {}
        self._environ = environ
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, default: Any = None) -> Any:
        """Return a field; *default* if it is missing or null."""
        value = self._left.pop(key, None)
        return default if value is None else value

    def text(self, key: str) -> str:
        """Return a text, in which variables are references."""
        value = self.take(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """Return the texts of a list, in which variables are references."""
        value = self.take(key)
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

    def value(self, key: str) -> str:
        """Return a text with the values of its variables."""
        return resolved(self.text(key), self._environ)

    def flag(self, key: str) -> bool | None:
        """Return a boolean; None if it is missing, null, or a variable without a value."""
        value = resolved(str(self.take(key, "")), self._environ)
        return parse_bool(value) if value else None

    def mapping(self, key: str) -> "Fields | None":
        """Return a field that is a mapping; None if it is missing."""
        value = self.take(key)
        return self.below(value, self.name(key)) if isinstance(value, Mapping) else None

    def below(self, value: Any, path: str) -> "Fields":
        """Return the mapping at a path, with the same variables."""
        return Fields(value, path, self._environ)

    def mappings(self, key: str, *, apart: bool = False) -> list["Fields"]:
        """
        Return a field that is a list of mappings.

        Args:
            apart: Whether each is a separate item, whose fields have no path above them.
        """
        value = self.take(key)
        some = value if isinstance(value, list) else []
        return [
            self.below(one, "" if apart else f"{self.name(key)}[{number}]")
            for number, one in enumerate(some)
            if isinstance(one, Mapping)
        ]

    def name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def names(self) -> list[str]:
        """Return the names of the fields that nobody took."""
        return [self.name(key) for key in self._left]

    def peek(self, key: str) -> str:
        """Return a text with the values of its variables, without taking it."""
        value = self._left.get(key)
        return resolved(value, self._environ) if isinstance(value, str) else ""

    def left(self) -> dict[str, Any]:
        """Return the fields that nobody took, and leave none."""
        left, self._left = self._left, {}
        return left

    def rest(self) -> Iterator[str]:
        """Take whatever is left, and yield its names."""
        for key in list(self._left):
            del self._left[key]
            yield self.name(key)
