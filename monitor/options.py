"""
How options are declared: units, patterns, secrets, and what a record says about its fields.

Probes and expectations describe their YAML with plain frozen dataclasses whose fields have these
types; ``config`` decodes them and creates the JSON Schema. So a field's name, type, default,
rule and documentation are all in one place.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable
from zoneinfo import ZoneInfo

import re2

from monitor.units import Bytes, Seconds, Timestamp


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    Marks a value that is decoded by its own function.

    Attributes:
        parse: Takes the YAML scalar (or, with ``accepts``, any YAML value) and returns the value;
            raises ValueError with what is wrong and what would be right.
        schema: JSON Schema of what may be written.
        show: Returns a value as it is written; None if defaults are not shown.
        bounds: What the schema cannot say about the accepted values, as a sentence; the
            documentation of an option ends with it.
    """

    parse: Callable[[Any], Any]
    schema: Mapping[str, Any]
    show: Callable[[Any], str | int] | None = None
    bounds: str = ""

    def __hash__(self) -> int:
        return hash(self.parse)


@dataclass(frozen=True, slots=True)
class Ruled:
    """
    Marks a type that has a rule in addition to its form.

    Attributes:
        check: Takes the decoded value; raises ValueError with a sentence that names the key, if the
            sentence is about one.
        schema: What JSON Schema can express of the rule.
    """

    check: Callable[[Any], None]
    schema: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.check)


class Marker(Enum):
    """What `config` must do itself, because it depends on the file that is being read."""

    SECRET = "secret"  # noqa: S105  the kind, not a password
    """Never shown: the value joins the site's secrets."""
    FILE = "file"
    """A path, relative to the YAML file that names it; must be readable."""


@runtime_checkable
class SendsSecrets(Protocol):
    """A record of options that sends its secrets in a special form."""

    def sent_secrets(self) -> Iterable[str]:
        """Return that form: it joins the site's secrets."""


class OptionError(ValueError):
    """
    A value that cannot work with the site's other options; the message does not quote it.

    Attributes:
        keys: Its place in the site: ``("network", "connect_to")``.
    """

    def __init__(self, keys: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


@runtime_checkable
class ChecksFiles(Protocol):
    """A record of options that checks the content of its files when the list is loaded."""

    def check_files(self) -> None:
        """
        Return if its files can be used.

        Raises:
            ValueError: One cannot; the sentence names its key.
        """


def option(default: Any = MISSING, *, doc: str, factory: Any = MISSING) -> Any:
    """
    Declare one option: a dataclass field with its documentation.

    Args:
        default: The value if nothing is written; without a default the option is required.
        doc: One sentence for the JSON Schema, the editor and the reference.
        factory: Creates the default instead, as in dataclasses.field.
    """
    if factory is not MISSING:
        return field(default_factory=factory, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


_MANY = 12


def unknown(what: str, name: str, known: Collection[str], many: int = _MANY) -> str:
    """
    Return the message about an unknown name.

    It suggests the known name that is nearly the same, or else lists them all, up to ``many``.

    Args:
        what: What the name stands for, as shown to people: ``option``, ``scheme 'htps'``.
    """
    close = get_close_matches(name, known, n=1)
    if close:
        return f"unknown {what}; did you mean {close[0]!r}?"
    if 0 < len(known) <= many:
        return f"unknown {what}; choose from {', '.join(known)}"
    return f"unknown {what}"


LONGEST: Seconds = 366 * 86400.0
"""For times to wait: system calls overflow with longer ones."""
LONGEST_KEPT: Seconds = 36525 * 86400.0
"""For the past and the future: a hundred years, so that every moment has a date."""
LARGEST: Bytes = 1024**5
"""More than one machine has."""
_LONGEST_QUOTE = 60

_DURATION_UNITS: Mapping[str, Seconds] = {
    "ms": 0.001,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_SIZE_UNITS: Mapping[str, Bytes] = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(kB|KB|MB|GB|[KMGT]iB|B)")


def parse_duration(value: Any) -> Seconds:
    """
    Return the seconds of ``500ms``, ``15s``, ``1m30s``, ``14d``.

    Raises:
        ValueError: It is anything else; a bare number has no unit.
    """
    units = ", ".join(_DURATION_UNITS)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Plus, because the number may be written 0x10
        raise ValueError(f"{value} has no unit; write {+value}s, or another of {units}")
    text = value if isinstance(value, str) else ""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is not a duration such as 500ms, 15s or 1m30s; units: {units}")
    return float(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def parse_size(value: Any) -> Bytes:
    """
    Return the bytes of ``64KiB``, ``1MB``.

    Raises:
        ValueError: It is anything else, or above LARGEST; a bare number has no unit.
    """
    units = ", ".join(_SIZE_UNITS)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write {+value}B, or another of {units}")
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not a size such as 64KiB or 1MB; units: {units}")
    size = float(match[1]) * _SIZE_UNITS[match[2]]
    if size > LARGEST:
        raise ValueError(f"must be at most {show_size(LARGEST)}, not {_short(value)}")
    return int(size)


DOUBTS: ContextVar[list[tuple[str, str]] | None] = ContextVar("doubts", default=None)
"""Collects values that are allowed but probably not meant while a file is read, with reasons."""
_LITERAL_BRACES = re.compile(r"(?<!\\)(?:\\\\)*\{,(\d+)\}")


def parse_regex(value: Any) -> str:
    """
    Return the pattern itself, once RE2 has accepted it: linear time on any input.

    Raises:
        ValueError: RE2 has no such syntax.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a pattern; put it in quotes")
    compile_regex(value)
    if found := _LITERAL_BRACES.search(value):
        most = found[1]
        note_doubt(value, f"RE2 takes {{,{most}}} literally; to repeat, write {{0,{most}}}")
    return value


def note_doubt(value: str, why: str) -> None:
    """Note that a value is allowed but probably not meant, if DOUBTS is collecting."""
    doubts = DOUBTS.get()
    if doubts is not None:
        doubts.append((value, why))


def compile_regex(pattern: str, *, binary: bool = False) -> Any:
    """
    Return the compiled RE2 pattern; re2 keeps the last ones it has compiled.

    Args:
        binary: Match bytes; non-ASCII characters in the pattern stand for their UTF-8 bytes.

    Raises:
        ValueError: RE2 has no such syntax; the message quotes RE2's reason.
    """
    settings = re2.Options()
    settings.log_errors = False
    if binary:
        # google-re2-stubs lack the enumeration
        settings.encoding = re2.Options.Encoding.LATIN1  # type: ignore[attr-defined]
    try:
        return re2.compile(pattern.encode() if binary else pattern, settings)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{pattern!r} is not an RE2 pattern: {text}") from error


def show_duration(seconds: Seconds) -> str:
    """Return the duration as people write it: ``1.5s``, ``80ms``, ``14d``, ``forever``."""
    if math.isinf(seconds):
        return "forever"
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms"
    for unit, size in reversed(list(_DURATION_UNITS.items())):
        if size >= 1 and seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:.4g}s"


def show_size(size: Bytes) -> str:
    """Return the size as people write it: ``64KiB``, ``1MiB``, ``1000B``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _SIZE_UNITS[unit]
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def show_count(number: int, noun: str) -> str:
    """Return how many there are: ``1 datagram``, ``2 datagrams``, ``0 datagrams``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def show_minute(time: Timestamp) -> str:
    """Return ``2026-11-22 11:20 UTC``."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def parse_zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except Exception:  # a name may fail in many ways: as a folder, as a path, or by not being text
        raise ValueError(f"{value!r} is not a time zone; write one such as Europe/Berlin") from None


_DURATIONS = r"(\d+(\.\d+)?(ms|[smhdw]))+"


def duration(least: Seconds = 0.0, most: Seconds = LONGEST) -> Parsed:
    """Accept a duration within these bounds."""
    return _quantity(parse_duration, show_duration, _DURATIONS, least, most)


def period(least: Seconds) -> Parsed:
    """Accept a duration of at least this, up to LONGEST_KEPT, or ``forever``."""
    finite = duration(least, LONGEST_KEPT)

    def parse(value: Any) -> Seconds:
        return math.inf if value == "forever" else finite.parse(value)

    return Parsed(
        parse,
        {"type": "string", "pattern": f"^({_DURATIONS}|forever)$"},
        show_duration,
        f"{finite.bounds[:-1]}, or forever.",
    )


def size(least: Bytes = 0, most: Bytes = LARGEST) -> Parsed:
    """Accept a size within these bounds."""
    return _quantity(parse_size, show_size, _SIZE.pattern, least, most)


def whole(least: int, most: int) -> Parsed:
    """Accept a whole number within these bounds."""

    def parse(value: Any) -> int:
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or not least <= value <= most:
            raise ValueError(
                f"must be a whole number from {least} to {most}, not {_short(repr(value))}"
            )
        return int(value)

    return Parsed(
        parse,
        {"type": "integer", "minimum": least, "maximum": most},
        int,
        _bounds(least, most, str),
    )


_Number = TypeVar("_Number", float, int)


def _quantity(
    read: Callable[[Any], _Number],
    show: Callable[[_Number], str],
    pattern: str,
    least: _Number,
    most: _Number,
) -> Parsed:
    def parse(value: Any) -> _Number:
        return _within(read(value), least, most, show, value)

    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return Parsed(parse, schema, show, _bounds(least, most, show))


def _within(
    number: _Number,
    least: _Number,
    most: _Number,
    show: Callable[[_Number], str],
    written: str,
) -> _Number:
    if number < least:
        raise ValueError(f"must be at least {show(least)}, not {_short(written)}")
    if number > most:
        raise ValueError(f"must be at most {show(most)}, not {_short(written)}")
    return number


def _bounds(least: _Number, most: _Number, show: Callable[[_Number], str]) -> str:
    return f"From {show(least)} to {show(most)}." if least else f"At most {show(most)}."


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


Duration = Annotated[Seconds, duration()]
Size = Annotated[Bytes, size()]
Regex = Annotated[str, Parsed(parse_regex, {"type": "string", "format": "regex"})]
Zone = Annotated[ZoneInfo, Parsed(parse_zone, {"type": "string", "default": "UTC"})]
Secret = Annotated[str, Marker.SECRET]
FilePath = Annotated[str, Marker.FILE]
