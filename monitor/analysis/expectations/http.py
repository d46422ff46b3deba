"""Expectations for an HTTP answer: headers, body, JSON, version, redirects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.analysis.expectations.words import ALLOWED, either, parse_version, parsed
from monitor.analysis.jsonpath import JsonPath, parse_path
from monitor.analysis.rules import (
    COUNT_SCHEMA,
    JSON_RULES_SCHEMA,
    TEXT_RULES_SCHEMA,
    TEXT_SCHEMAS,
    Count,
    JsonRules,
    TextRules,
    each,
    mapping,
    one_or_list,
    parse_count,
    parse_json_rules,
    parse_text_rules,
)
from monitor.analysis.seen import Seen
from monitor.grammar import TOKEN
from monitor.model import ExpectationKind, Reason
from monitor.protocols.table import only

_HEADER_NAME = re.compile(TOKEN)


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """
    The expectation for one header.

    Attributes:
        name: In lower case.
        absent: Whether the header must be missing; None if only its values matter.
        optional: Whether the header may be missing; if it is there, its values must be right.
    """

    name: str
    rules: TextRules
    absent: bool | None = None
    optional: bool = False


def parse_headers(value: Any) -> tuple[HeaderRule, ...]:
    """
    Read ``{NAME: rules}``; the rules are a body's, ``{absent: true}``, or have ``absent: allowed``.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{value!r} is not a mapping of header names, as in {{server: nginx}}")
    return tuple(_parse_header(str(name), rules) for name, rules in value.items())


def _parse_header(name: str, rules: Any) -> HeaderRule:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    try:
        absent, others = _split_absent(rules)
        bare = absent in (True, False) and not others
        texts = TextRules() if bare else parse_text_rules(others)
        if absent == ALLOWED:
            return HeaderRule(name.lower(), texts, optional=True)
        return HeaderRule(name.lower(), texts, absent)
    except ValueError as error:
        raise ValueError(f"header {name}: {error}") from error


def _split_absent(rules: Any) -> tuple[Any, Any]:
    if not (isinstance(rules, Mapping) and "absent" in rules):
        return None, rules
    others = dict(mapping(rules, ("absent", *TEXT_SCHEMAS)))
    absent = others.pop("absent")
    if absent is not True and absent is not False and absent != ALLOWED:
        raise ValueError(f"absent is true, false or allowed, not {absent!r}")
    if absent is True and others:
        raise ValueError(f"absent: true cannot be combined with {', '.join(others)}")
    return absent, others


def _check_headers(rules: tuple[HeaderRule, ...], seen: Seen) -> str | None:
    headers = seen.headers()
    for rule in rules:
        values = tuple(value for name, value in headers if name == rule.name)
        why = None
        if values:
            shown = ", ".join(map(seen.quote, values[:3]))
            why = (
                f"{shown} must be absent" if rule.absent else rule.rules.why_not(values, seen.quote)
            )
        elif not rule.optional and (
            rule.absent is False or rule.rules.contains or rule.rules.matches
        ):
            why = "is missing"
        if why:
            return f"header {rule.name} {why}"
    return None


HEADER = ExpectationKind(
    shape=parsed(
        tuple[HeaderRule, ...],
        parse_headers,
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    TEXT_RULES_SCHEMA,
                    {
                        "type": "object",
                        "properties": {
                            "absent": {"enum": [True, False, ALLOWED]},
                            **TEXT_SCHEMAS,
                        },
                        "required": ["absent"],
                        "additionalProperties": False,
                    },
                ]
            },
            "minProperties": 1,
        },
    ),
    reason=Reason.HEADER,
    check=_check_headers,
    protocols=only("http", "ws"),
    doc="By name: a pattern, contains, not_contains, matches, not_matches, or absent: true, "
    "false or allowed.",
)


def _check_body(rules: TextRules, seen: Seen) -> str | None:
    answer = seen.http
    cut = f"body was cut after {len(answer.body)} bytes"
    why = rules.why_not((seen.text,), seen.quote)
    if why:
        return f"body {why}" + (f"; {cut}" if answer.truncated else "")
    if answer.truncated and rules.forbids:
        return f"{cut}, so what must not be in it may still follow"
    return None


@dataclass(frozen=True, slots=True)
class JsonRule:
    """The expectation for the value at one path."""

    path: JsonPath
    rules: JsonRules


def parse_json_expectation(value: Any) -> tuple[JsonRule, ...]:
    """
    Read ``{PATH: VALUE}`` or ``{PATH: comparison}``.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{value!r} is not a mapping of paths, as in {{$.status: ok}}")
    rules = []
    for path, expected in value.items():
        place = parse_path(str(path))
        try:
            rules.append(JsonRule(place, parse_json_rules(expected)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return tuple(rules)


def _check_json(rules: tuple[JsonRule, ...], seen: Seen) -> str | None:
    document = seen.json
    for rule in rules:
        try:
            value = rule.path.find(document)
        except LookupError as error:
            if rule.rules.absent:
                continue
            return f"json {rule.path.text} is missing: {error.args[0]}"
        why = rule.rules.why_not(value, seen.quote)
        if why:
            return f"json {rule.path.text} {why}"
    return None


BODY = ExpectationKind(
    shape=parsed(TextRules, parse_text_rules, TEXT_RULES_SCHEMA),
    reason=Reason.BODY,
    check=_check_body,
    protocols=only("http"),
    reads_body=True,
    doc="A pattern, or contains, not_contains, matches, not_matches; of a list all must hold.",
)


JSON = ExpectationKind(
    shape=parsed(
        tuple[JsonRule, ...],
        parse_json_expectation,
        {
            "type": "object",
            "propertyNames": {"pattern": r"^\$"},
            "additionalProperties": JSON_RULES_SCHEMA,
            "minProperties": 1,
        },
    ),
    reason=Reason.JSON,
    check=_check_json,
    protocols=only("http"),
    reads_body=True,
    doc="By path ($.a.b[0]): a value to be equal to, or a comparison such as {gt: 3}.",
)


_HTTP_VERSIONS = ("1.0", "1.1", "2", "3")


def parse_http_versions(value: Any) -> tuple[str, ...]:
    """
    Read ``"1.1"``, ``2``, ``3``, or a list of such; quotes do not matter.

    Raises:
        ValueError: The version does not exist.
    """
    return tuple(parse_version(one, "HTTP", _HTTP_VERSIONS) for one in each(value))


def _check_http_version(allowed: tuple[str, ...], seen: Seen) -> str | None:
    version = seen.http.version
    return None if version in allowed else f"HTTP version {version} is not {either(allowed)}"


HTTP_VERSION = ExpectationKind(
    shape=parsed(tuple[str, ...], parse_http_versions, one_or_list({"type": ["string", "number"]})),
    reason=Reason.HTTP_VERSION,
    check=_check_http_version,
    protocols=only("http"),
    compares=True,
    doc="The version of the final answer, or several: 1.1, 2, 3.",
)


def _check_redirects(wanted: Count, seen: Seen) -> str | None:
    followed = len(seen.http.redirects)
    why = wanted.why_not(followed)
    return f"redirects {followed} {why}" if why else None


REDIRECTS = ExpectationKind(
    shape=parsed(Count, parse_count, COUNT_SCHEMA),
    reason=Reason.REDIRECTS,
    check=_check_redirects,
    protocols=only("http"),
    compares=True,
    doc="How many redirects were followed: 0, 1-3, or {le: 2}.",
)
