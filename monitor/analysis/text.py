"""Formats values for messages: on one line, printable, and short."""

import json
from collections.abc import Iterable

from monitor import options

_LONGEST = 100


def quote(text: str) -> str:
    """Return a text in quotes, as JSON writes it; plain() says how it is truncated and escaped."""
    shown = json.dumps(text[:_LONGEST], ensure_ascii=False)
    return _printable(shown[:-1]) + ('…"' if len(text) > _LONGEST else '"')


def plain(text: str, longest: int = _LONGEST) -> str:
    """
    Return a text, truncated after *longest* characters.

    Characters that are invisible or would change the line (control characters, bidirectional marks,
    lone surrogates) are escaped.
    """
    return _printable(text[:longest]) + ("…" if len(text) > longest else "")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def enumerate_few(values: Iterable[str], few: int = 3) -> str:
    """Return the first few, and how many more there are: ``a, b, c and 997 more``."""
    listed = list(values)
    more = len(listed) - few
    return ", ".join(listed[:few]) + (f" and {more} more" if more > 0 else "")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message about an unknown name, with all known names."""
    names = [str(one) for one in known]
    return options.unknown(f"{kind} {name!r}", str(name), names, many=len(names))
