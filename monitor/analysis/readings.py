"""
Reads answers without judging them: values that become series, and content that is watched.

The records are read with the configuration; the rest runs in the worker processes. A missing value
is None with the reason, never 0 and never an exception.
"""

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from monitor.analysis.jsonpath import JsonPath, parse_path, type_name
from monitor.analysis.page import parse_selector, pick
from monitor.analysis.rules import parse_pattern, search
from monitor.analysis.seen import Seen, Unseen
from monitor.grammar import TOKEN
from monitor.logs import fields
from monitor.model import Content, Extracted, ReadingKind
from monitor.options import Parsed, Ruled, compile_regex, option
from monitor.protocols.table import only

_log = logging.getLogger(__name__)

_HTTP = only("http")
_MOST_VALUES = 20
_LONGEST_LABEL = 128
_LONGEST_WHY = 300
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_HEADER_NAME = re.compile(TOKEN)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _parse_path(value: Any) -> JsonPath:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a path such as $.queue.depth")
    return parse_path(value)


def _parse_group(value: Any) -> str:
    pattern = parse_pattern(value)
    if compile_regex(pattern).groups != 1:
        raise ValueError(f"{pattern!r} needs one group, around what is taken: 'v(\\d+)'")
    return pattern


def _parse_header(value: Any) -> str:
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header")
    if value.lower() == "set-cookie":
        raise ValueError("Set-Cookie is a credential, and values are shown to everybody")
    return value.lower()


_Path = Annotated[JsonPath, Parsed(_parse_path, {"type": "string", "pattern": r"^\$"})]
_Group = Annotated[str, Parsed(_parse_group, {"type": "string", "format": "regex"})]
_Header = Annotated[str, Parsed(_parse_header, {"type": "string"})]
_Selector = Annotated[str, Parsed(parse_selector, {"type": "string", "minLength": 1})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The place of one value in an answer."""

    json: _Path | None = option(None, doc="The path of a value in the body, which is JSON.")
    matches: _Group | None = option(
        None,
        doc="A pattern with one group, whose text is the value; applied to the header if one is"
        " named, else to the body.",
    )
    header: _Header | None = option(None, doc="The name of a header.")
    label: bool = option(False, doc="Export it as text, in a label, instead of as a number.")

    def __post_init__(self) -> None:
        if self.json is not None and (self.matches is not None or self.header is not None):
            raise ValueError("json cannot be combined with matches or header")
        if self.json is None and self.matches is None and self.header is None:
            raise ValueError("needs json, matches or header to find the value")

    @property
    def reads_body(self) -> bool:
        return self.header is None


def _check_names(value: Mapping[str, Extraction]) -> None:
    if len(value) > _MOST_VALUES:
        raise ValueError(f"a site has at most {_MOST_VALUES} values, not {len(value)}")
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name} is not a name for a value; write letters, digits and _, beginning with no"
                " digit, 64 at most"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The part of an answer that should not change."""

    content: Literal["sha256"] = option(doc="How the watched content is remembered.")
    css: _Selector | None = option(
        None,
        doc="Watch the text of the elements that a CSS selector picks, instead of the whole body.",
    )
    json: _Path | None = option(None, doc="Watch the value at a path in the body, which is JSON.")
    fail: bool = option(
        False, doc="Whether a check fails if the content differs from that of the check before."
    )

    def __post_init__(self) -> None:
        if self.css is not None and self.json is not None:
            raise ValueError("css and json cannot be used together")


READINGS: Mapping[str, ReadingKind] = {
    "extract": ReadingKind(
        shape=Annotated[
            Mapping[str, Extraction],
            Ruled(
                _check_names,
                {
                    "maxProperties": _MOST_VALUES,
                    "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
                },
            ),
        ],
        protocols=_HTTP,
        needs_body=lambda values: any(one.reads_body for one in values.values()),
        doc="Values out of the answer that become series, by name.",
    ),
    "watch": ReadingKind(
        shape=Watch,
        protocols=_HTTP,
        needs_body=lambda _: True,
        doc="Notice when the content changes.",
    ),
}
"""The keys of a site that read something from its answers."""


# ---------------------------------------------------------------- values


def extract(wanted: Mapping[str, Extraction], seen: Seen) -> tuple[Extracted, ...]:
    """Return each value, or why it is missing; never raises for anything in an answer."""
    return tuple(_extract(name, one, seen) for name, one in wanted.items())


def _extract(name: str, wanted: Extraction, seen: Seen) -> Extracted:
    try:
        found = _find(wanted, seen)
        return Extracted(name=name, value=(_label if wanted.label else _number)(found, seen))
    except Unseen as error:
        why = seen.plain(str(error), _LONGEST_WHY)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # see judge.py
        _log.exception("extraction_bug", extra=fields(site=seen.site, name=name))
        why = f"cannot be read: {type(error).__name__}"
    return Extracted(name=name, why=why)


def _find(wanted: Extraction, seen: Seen) -> Any:
    """Return the text or JSON value; raises Unseen without one."""
    if wanted.json is not None:
        return _at(wanted.json, seen)
    if wanted.header is None:
        where, text = "body", seen.text
    else:
        where = f"header {wanted.header}"
        values = [value for name, value in seen.headers() if name == wanted.header]
        if not values:
            raise Unseen(f"{where} is not there")
        text = values[0]
    if wanted.matches is None:
        return text
    match = search(wanted.matches, text)
    if not match or match[1] is None:
        raise Unseen(f"{where} {seen.quote(text)} does not match {seen.quote(wanted.matches)}")
    return match[1]


def _at(path: JsonPath, seen: Seen) -> Any:
    try:
        return path.find(seen.json)
    except LookupError as error:
        raise Unseen(f"json {path.text}: {error}") from error


def _number(found: Any, seen: Seen) -> float:
    if isinstance(found, bool):
        return float(found)
    text = found if isinstance(found, str) else json.dumps(found)
    if seen.redact(text) != text:
        raise Unseen("what was found holds a secret")
    if isinstance(found, str) and not _NUMBER.fullmatch(found.strip()):
        raise Unseen(f"{seen.quote(found)} is not a number")
    if not isinstance(found, int | float | str):
        raise Unseen(f"{seen.quote(found)} is of type {type_name(found)}, not number")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unseen(f"{seen.quote(found)} is too large a number")
    return number


def _label(found: Any, seen: Seen) -> str:
    if not isinstance(found, str | int | float):
        raise Unseen(f"{seen.quote(found)} is of type {type_name(found)}, not string")
    text = seen.redact(found if isinstance(found, str) else json.dumps(found))
    shown = text[:_LONGEST_LABEL]
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


# ---------------------------------------------------------------- content


def look(watch: Watch, seen: Seen) -> Content:
    """Return the hash of the watched content, or why it is missing; never raises."""
    try:
        return Content(sha256=hashlib.sha256(_watched(watch, seen)).hexdigest())
    except Unseen as error:
        why = seen.plain(str(error), _LONGEST_WHY)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # see judge.py
        _log.exception("watch_bug", extra=fields(site=seen.site))
        why = f"content cannot be read: {type(error).__name__}"
    return Content(why=why)


def why_changed(content: Content, reference: str | None) -> str | None:
    """Return why the watch fails; None while the content is unchanged."""
    if content.sha256 is None:
        return f"the content to watch is missing: {content.why}"
    if reference is None or content.sha256 == reference:
        return None
    return f"content changed from {reference[:12]} to {content.sha256[:12]} (SHA-256)"


def _watched(watch: Watch, seen: Seen) -> bytes:
    if watch.json is not None:
        value = _at(watch.json, seen)
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    if watch.css is not None:
        texts = pick(watch.css, seen.text)
        if not texts:
            raise Unseen(f"no element matches {seen.quote(watch.css)}")
        return "\n".join(texts).encode()
    return seen.http.body
