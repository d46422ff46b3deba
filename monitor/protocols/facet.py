"""The facet, and what several facets share: texts that are masked and truncated."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeAlias, TypeVar

from monitor.grammar import header_text
from monitor.model import Answer, Site
from monitor.secrecy import HIDDEN

Row: TypeAlias = tuple[str, str | None]
"""A name and its value for people; None is left out."""

Step: TypeAlias = tuple[str, Mapping[str, Any]]
"""One line of the log of ``/probe?debug=true``: blackbox_exporter's message, and fields."""

Leaves: TypeAlias = Sequence[Mapping[str, Any] | None]
"""The certificate of each redirect in its JSON form; None if there was no certificate."""

Evidence: TypeAlias = tuple[bytes, str | None]
"""Bytes, and the value of their Content-Type; None if the protocol has no such thing."""

_Answer = TypeVar("_Answer", bound=Answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet(Generic[_Answer]):
    """
    All views of one kind of answer, except the series, which need labels; see metrics/protocols.py.

    Attributes:
        keys: The keys of ``json``, which are null in the JSON form of every other kind of answer.
        json: The answer in the one JSON form (report.py); it gets the redirects' certificates.
        rows: The answer for people at a terminal.
        steps: The log lines of a check of this target with this answer.
        kept: The answer as it is remembered: without bodies and PEM, without the site's secrets,
            and with everything truncated that a server can make long.
        evidence: The bytes whose beginning is shown with a failure, and their media type; without
            a type they are UTF-8.
    """

    keys: tuple[str, ...]
    json: Callable[[_Answer, Leaves], Mapping[str, Any]]
    rows: Callable[[_Answer], Iterable[Row]]
    steps: Callable[[_Answer, str], Iterable[Step]]
    kept: Callable[[_Answer, Site], _Answer]
    evidence: Callable[[_Answer], Evidence]


# ---------------------------------------------------------------- how texts are kept

LONGEST_VALUE = 1024
LONGEST_NAME = 512
_MOST_HEADERS = 50
_HEADERS = 4096
_SHORT_HEADER = 256
_FEW_HEADERS = 15
"""So many short ones are always kept, even if a hidden value is longer than the real one."""
_MOST_RECORDS = 100

Headers: TypeAlias = tuple[tuple[str, str], ...]


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def readable_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    """Yield header lines with their values as text."""
    return ((name, header_text(value)) for name, value in headers)


def kept_headers(site: Site, headers: Headers) -> Headers:
    """Return the first headers, up to some thousand characters in total, secrets masked."""
    short = len(headers) <= _FEW_HEADERS and all(
        [len(name) + len(value) <= _SHORT_HEADER for name, value in headers]  # noqa: C419  faster
    )
    if short and not site.secrets:  # most answers are like this
        return tuple(map(_usual_header, headers))
    shown: list[tuple[str, str]] = []
    left = _HEADERS
    for header in headers[:_MOST_HEADERS]:
        name, value = header
        if site.secrets:
            header = name, site.redact(value)  # noqa: PLW2901  all that may be shown
        if len(name) + len(value) <= _SHORT_HEADER:
            header = _usual_header(header)  # noqa: PLW2901  as above
        else:
            header = _shown_header(header)  # noqa: PLW2901  as above
        left -= len(header[0]) + len(header[1])
        if left < 0:
            break
        shown.append(header)
    missing = len(headers) - len(shown)
    return (*shown, ("…", f"{missing} more")) if missing else tuple(shown)


def _shown_header(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header[0], header_text(header[1])
    if name.lower() == "set-cookie":
        # A session cookie that a check with credentials was given is as good as the credentials
        value = f"{value.partition('=')[0]}={HIDDEN}"
    return cut(name, LONGEST_NAME), cut(value, LONGEST_VALUE)


_usual_header = lru_cache(maxsize=4096)(_shown_header)
"""One object for headers that most sites and checks have in common."""


def kept_records(site: Site, records: tuple[str, ...]) -> tuple[str, ...]:
    """Return all records, because their number is shown; the last can be empty."""
    kept = [cut(site.redact(record), LONGEST_NAME) for record in records[:_MOST_RECORDS]]
    return (*kept, *("…",) * (len(records) - len(kept)))


def unchanged(answer: _Answer, _: Site) -> _Answer:
    """Return an answer unchanged that contains nothing long or secret."""
    return answer


def no_steps(_: Answer, __: str) -> Iterable[Step]:
    """Return no log lines for an answer."""
    return ()


def no_evidence(_: Answer) -> Evidence:
    """Return nothing for an answer that has no text."""
    return b"", None
