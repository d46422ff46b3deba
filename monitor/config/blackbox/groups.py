"""Finds the groups of a regular expression, with numbers and names, without matching it."""

import re
from collections.abc import Iterator, Mapping

SEND_TEMPLATE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
"""``$1``, ``${name}`` and ``$$`` as Go's regexp.Expand reads them: $1x is the group called 1x."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST_REFERENCE = 9
# One piece of a pattern: quoted text, an escape, a class, the beginning of a group
_PIECES = re.compile(
    r"(?s)\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]"
    r"|\(\?P?<(?P<name>\w+)>|\(\?|(?P<open>\()|."
)


class Groups:
    """The capturing groups of one pattern, counted from 1."""

    def __init__(self, pattern: str) -> None:
        self._pieces = [
            (match[0], match["name"], bool(match["open"])) for match in _pieces(pattern)
        ]
        self._numbers: dict[str, int] = {}
        self._count = 0
        for _, name, opens in self._pieces:
            if name or opens:
                self._count += 1
            if name:
                self._numbers[name] = self._count

    def only_group(self, template: str) -> int | None:
        """Return the group that the whole template refers to; None for any other template."""
        match = SEND_TEMPLATE.fullmatch(template)
        if not match or match[0] == "$$":
            return None
        return self._number(match[1] or match[2]) or None

    def can_be_named(self, name: str) -> bool:
        return _NAME.fullmatch(name) is not None

    def renamed(self, names: Mapping[int, str]) -> str:
        """Return the pattern with names for these groups only."""
        text, number = "", 0
        for piece, name, opens in self._pieces:
            if name or opens:
                number += 1
                text += f"(?P<{names[number]}>" if number in names else "("
            else:
                text += piece
        return text

    def is_beyond(self, name: str) -> bool:
        """Return whether the group exists, but its number is too large for our references."""
        number = self._number(name)
        return number is not None and number > _LARGEST_REFERENCE

    def reference(self, name: str) -> str:
        """Return our reference to a group; like Go, return nothing if there is no such group."""
        number = self._number(name)
        return f"\\{number}" if number is not None and number <= _LARGEST_REFERENCE else ""

    def _number(self, name: str) -> int | None:
        if name.isdecimal():
            return int(name) if int(name) <= self._count else None
        return self._numbers.get(name)


def _pieces(pattern: str) -> Iterator[re.Match[str]]:
    return _PIECES.finditer(pattern)
