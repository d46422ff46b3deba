"""
Rules that several expectations share: texts that must or must not occur, numbers, JSON values.

The records are read with the configuration, frozen, comparable and picklable; they hold patterns as
text, and each process compiles a pattern once, when it is first used.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from monitor.analysis.jsonpath import type_name
from monitor.analysis.text import enumerate_few, unknown_name
from monitor.options import compile_regex, parse_regex

Quote = Callable[[Any], str]
"""Returns a value for a message; see Seen.quote()."""

_compiled = lru_cache(maxsize=4096)(compile_regex)


def search(pattern: str, text: str) -> Any:
    """Return RE2's first match anywhere in the text, or None."""
    rule = _compiled(pattern)
    try:
        return rule.search(text)
    except UnicodeEncodeError:
        # RE2 reads UTF-8, which cannot hold half a surrogate pair (JSON may escape one)
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return rule.search(whole)


def each(value: Any) -> list[Any]:
    """Return the elements of a list, or a single value as a list."""
    if not isinstance(value, list):
        return [value]
    if not value:
        raise ValueError("the list is empty; leave the key out to expect nothing")
    return value


def mapping(value: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """
    Return a mapping whose keys are all known.

    Raises:
        ValueError: It is not a mapping, is empty, or has an unknown key.
    """
    keys = list(known)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{value!r} is not a mapping with some of {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise ValueError(unknown_name("key", key, keys))
    return value


def parse_text(value: Any) -> str:
    """
    Return a text that may be searched for.

    Raises:
        ValueError: It is not a text, or is empty and so found everywhere.
    """
    if value == "":
        raise ValueError("an empty text is found everywhere")
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is not a text; put it in quotes")


def parse_pattern(value: Any) -> str:
    """Return an RE2 pattern; raises ValueError for any other, and for an empty one."""
    return parse_text(parse_regex(value))


def patterns(value: Any) -> tuple[str, ...]:
    """Return one or several patterns."""
    return tuple(map(parse_pattern, each(value)))


def one_or_list(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one such value or a list of them."""
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


# ---------------------------------------------------------------- texts

REGEX_SCHEMA = {"type": "string", "format": "regex", "minLength": 1}
_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_TEXT_KEYS: Mapping[str, Callable[[Any], str]] = {
    "contains": parse_text,
    "not_contains": parse_text,
    "matches": parse_pattern,
    "not_matches": parse_pattern,
}
TEXT_SCHEMAS: Mapping[str, Any] = {
    key: one_or_list(REGEX_SCHEMA if key.endswith("matches") else _TEXT_SCHEMA)
    for key in _TEXT_KEYS
}
_AROUND = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """The rules for a text: what must be found in it, and what must not; all must hold."""

    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    not_matches: tuple[str, ...] = ()

    @property
    def forbids(self) -> bool:
        """Whether the rules need the whole text to decide that they hold."""
        return bool(self.not_contains or self.not_matches)

    def why_not(self, texts: tuple[str, ...], quote: Quote) -> str | None:
        """
        Return the words that follow the name of the text: ``"abc" does not contain "x"``.

        Args:
            texts: The values of one thing, at least one: it is enough if one contains what must be
                found; none may contain what must not be found.
            quote: Returns a value for the message.
        """
        for part in self.contains:
            if not any(part in text for text in texts):
                return f"{_quote_all(texts, quote)} does not contain {quote(part)}"
        for pattern in self.matches:
            if not any(search(pattern, text) for text in texts):
                return f"{_quote_all(texts, quote)} does not match {quote(pattern)}"
        for text in texts:
            for part in self.not_contains:
                if part in text:
                    shown = _around(text, text.index(part), len(part))
                    return f"{quote(shown)} contains {quote(part)}"
            for pattern in self.not_matches:
                found = search(pattern, text)
                if found:
                    shown = _around(text, found.start(), found.end() - found.start())
                    return f"{quote(shown)} matches {quote(pattern)}"
        return None


def _quote_all(texts: tuple[str, ...], quote: Quote) -> str:
    return enumerate_few(map(quote, texts))


def _around(text: str, start: int, length: int) -> str:
    """Return the text that was found, with some characters before and after it."""
    before, after = max(0, start - _AROUND), start + length + _AROUND
    return "…" * (before > 0) + text[before:after] + "…" * (after < len(text))


def parse_text_rules(value: Any) -> TextRules:
    """
    Read ``PATTERN``, ``{contains: …, not_matches: …}``, or a list of these that must all hold.

    Raises:
        ValueError: It is anything else.
    """
    collected: dict[str, list[str]] = {key: [] for key in _TEXT_KEYS}
    for one in each(value):
        rules = {"matches": one} if isinstance(one, str) else mapping(one, _TEXT_KEYS)
        for key, wanted in rules.items():
            collected[key].extend(map(_TEXT_KEYS[key], each(wanted)))
    return TextRules(**{key: tuple(found) for key, found in collected.items()})


TEXT_RULES_SCHEMA = one_or_list(
    {
        "anyOf": [
            REGEX_SCHEMA,
            {
                "type": "object",
                "properties": TEXT_SCHEMAS,
                "additionalProperties": False,
                "minProperties": 1,
            },
        ]
    }
)

# ---------------------------------------------------------------- numbers

_ORDER: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "gt": (lambda one, other: one > other, "above"),
    "ge": (lambda one, other: one >= other, "at least"),
    "lt": (lambda one, other: one < other, "below"),
    "le": (lambda one, other: one <= other, "at most"),
}
_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Count:
    """Bounds on a whole number, as (``eq``, ``ne``, ``gt``, ``ge``, ``lt`` or ``le``, number)."""

    bounds: tuple[tuple[str, int], ...]

    def why_not(self, number: int) -> str | None:
        """Return the clause that follows the number: ``is not at most 2``; None if all hold."""
        for key, bound in self.bounds:
            if key == "eq":
                holds, words = number == bound, str(bound)
            elif key == "ne":
                holds, words = number != bound, f"other than {bound}"
            else:
                compare, verb = _ORDER[key]
                holds, words = compare(number, bound), f"{verb} {bound}"
            if not holds:
                return f"is not {words}"
        return None


def parse_count(value: Any) -> Count:
    """
    Read ``3``, ``1-3`` (both included) or ``{ge: 1, lt: 4}``.

    Raises:
        ValueError: It is anything else, or a negative number, or a range with its ends swapped.
    """
    if isinstance(value, Mapping):
        return Count(
            tuple(
                (key, _whole(bound)) for key, bound in mapping(value, ("eq", "ne", *_ORDER)).items()
            )
        )
    spread = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if not spread:
        return Count((("eq", _whole(value)),))
    low, high = int(spread[1]), int(spread[2])
    if low > high:
        raise ValueError(f"{value} is empty; the smaller number comes first")
    return Count((("ge", low), ("le", high)))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number, a range such as 1-3, or {{ge: 1}}")
    return value


_WHOLE_SCHEMA = {"type": "integer", "minimum": 0}
COUNT_SCHEMA = {
    "anyOf": [
        _WHOLE_SCHEMA,
        {"type": "string", "pattern": r"^\d+-\d+$"},
        {
            "type": "object",
            "properties": dict.fromkeys(("eq", "ne", *_ORDER), _WHOLE_SCHEMA),
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}

# ---------------------------------------------------------------- JSON values

_TYPES = ("null", "boolean", "number", "string", "array", "object")


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON value as its text: unlike the value, it can be hashed and tells 1 from true."""

    text: str

    @property
    def value(self) -> Any:
        return _loaded(self.text)


@lru_cache(maxsize=4096)
def _loaded(text: str) -> Any:
    return json.loads(text)


def parse_json(value: Any) -> JsonText:
    """
    Return a value from YAML as JSON.

    Raises:
        ValueError: JSON cannot hold the value: a date, .inf, .nan.
    """
    try:
        return JsonText(json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{value!r} is not a JSON value; put it in quotes to mean a text"
        ) from error


@dataclass(frozen=True, slots=True)
class JsonRules:
    """The rules for one JSON value, as (key, operand); see parse_json_rules()."""

    rules: tuple[tuple[str, Any], ...]

    @property
    def absent(self) -> bool:
        """Whether the value must be missing."""
        return ("exists", False) in self.rules

    def why_not(self, value: Any, quote: Quote) -> str | None:
        """
        Return the words that follow the place of the value: ``3 is not above 5``.

        Args:
            quote: Returns a value for the message.
        """
        for key, operand in self.rules:
            why = _JSON_KEYS[key].why_not(value, operand, quote)
            if why:
                return why
        return None


def _equal(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 and 1.0 are equal, 1 and true are not."""
    pairs = [(one, other)]
    while pairs:
        one, other = pairs.pop()
        if type_name(one) != type_name(other):
            return False
        if isinstance(one, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[name]) for name, value in one.items())
        elif one != other:
            return False
    return True


def _why_not_eq(value: Any, operand: JsonText, quote: Quote) -> str | None:
    if _equal(value, operand.value):
        return None
    return f"{quote(value)} is not {quote(operand.value)}"


def _why_not_ne(value: Any, operand: JsonText, quote: Quote) -> str | None:
    if not _equal(value, operand.value):
        return None
    return f"{quote(value)} is not other than {quote(operand.value)}"


def _why_not_ordered(key: str) -> Callable[[Any, JsonText, Quote], str | None]:
    compare, words = _ORDER[key]

    def why_not(value: Any, operand: JsonText, quote: Quote) -> str | None:
        bound = operand.value
        if type_name(value) != type_name(bound):
            return f"{quote(value)} is of type {type_name(value)}, not {type_name(bound)}"
        if compare(value, bound):
            return None
        return f"{quote(value)} is not {words} {quote(bound)}"

    return why_not


def _why_not_there(value: Any, wanted: bool, quote: Quote) -> str | None:
    return None if wanted else f"{quote(value)} must be absent"


def _why_not_type(value: Any, wanted: tuple[str, ...], quote: Quote) -> str | None:
    if type_name(value) in wanted:
        return None
    return f"{quote(value)} is of type {type_name(value)}, not {' or '.join(wanted)}"


def _why_not_length(value: Any, wanted: Count, quote: Quote) -> str | None:
    if not isinstance(value, str | list | dict):
        return f"{quote(value)} is of type {type_name(value)}, which has no length"
    why = wanted.why_not(len(value))
    return f"length {len(value)} {why}" if why else None


def _why_no_match(value: Any, wanted: tuple[str, ...], quote: Quote) -> str | None:
    if not isinstance(value, str):
        return f"{quote(value)} is of type {type_name(value)}, not string"
    for pattern in wanted:
        if not search(pattern, value):
            return f"{quote(value)} does not match {quote(pattern)}"
    return None


def _why_not_in(value: Any, wanted: tuple[JsonText, ...], quote: Quote) -> str | None:
    for one in wanted:
        part = one.value
        if isinstance(value, str | dict):
            found = isinstance(part, str) and part in value
        elif isinstance(value, list):
            found = any(_equal(element, part) for element in value)
        else:
            return f"{quote(value)} is of type {type_name(value)}, which contains nothing"
        if not found:
            return f"{quote(value)} does not contain {quote(part)}"
    return None


def _parse_orderable(value: Any) -> JsonText:
    if type_name(value) not in ("number", "string"):
        raise ValueError(f"{value!r} is neither a number nor a text, so it has no order")
    return parse_json(value)


def _parse_exists(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not true or false")


def _parse_types(value: Any) -> tuple[str, ...]:
    for one in each(value):
        if one not in _TYPES:
            raise ValueError(unknown_name("type", one, _TYPES))
    return tuple(each(value))


@dataclass(frozen=True, slots=True)
class _JsonKey:
    parse: Callable[[Any], Any]
    why_not: Callable[[Any, Any, Quote], str | None]
    schema: Mapping[str, Any]


_ORDERABLE_SCHEMA = {"type": ["number", "string"]}
_JSON_KEYS: Mapping[str, _JsonKey] = {
    "eq": _JsonKey(parse_json, _why_not_eq, {}),
    "ne": _JsonKey(parse_json, _why_not_ne, {}),
    **{key: _JsonKey(_parse_orderable, _why_not_ordered(key), _ORDERABLE_SCHEMA) for key in _ORDER},
    "exists": _JsonKey(_parse_exists, _why_not_there, {"type": "boolean"}),
    "type": _JsonKey(_parse_types, _why_not_type, one_or_list({"enum": list(_TYPES)})),
    "length": _JsonKey(parse_count, _why_not_length, COUNT_SCHEMA),
    "matches": _JsonKey(patterns, _why_no_match, one_or_list(REGEX_SCHEMA)),
    "contains": _JsonKey(
        lambda value: tuple(map(parse_json, each(value))), _why_not_in, one_or_list({})
    ),
}


def parse_json_rules(value: Any) -> JsonRules:
    """
    Read a value that must be equal, or a comparison: ``{gt: 3}``, ``{type: string, matches: …}``.

    Raises:
        ValueError: It is a mapping other than a comparison, or a comparison with a mistake.
    """
    if not isinstance(value, Mapping):
        return JsonRules((("eq", parse_json(value)),))
    try:
        rules = mapping(value, _JSON_KEYS)
    except ValueError as error:
        raise ValueError(f"{error}; an object to be equal to is {{eq: {{…}}}}") from error
    parsed = tuple((key, _JSON_KEYS[key].parse(operand)) for key, operand in rules.items())
    if ("exists", False) in parsed and len(parsed) > 1:
        raise ValueError("exists: false cannot be combined with other comparisons")
    return JsonRules(parsed)


JSON_RULES_SCHEMA = {
    "anyOf": [
        {"type": ["null", "boolean", "number", "string", "array"]},
        {
            "type": "object",
            "properties": {key: one.schema for key, one in _JSON_KEYS.items()},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ]
}
