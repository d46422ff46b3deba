"""Expectations for a DNS reply: response code, flags, records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monitor.analysis.expectations.words import ALLOWED, either, parsed
from monitor.analysis.rules import (
    COUNT_SCHEMA,
    REGEX_SCHEMA,
    Count,
    TextRules,
    each,
    mapping,
    one_or_list,
    parse_count,
    patterns,
    search,
)
from monitor.analysis.seen import Seen
from monitor.analysis.text import unknown_name
from monitor.model import DnsAnswer, ExpectationKind, Reason
from monitor.protocols.table import only

_RCODE_NAMES = """
    NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE
    DSOTYPENI BADVERS BADSIG BADKEY BADTIME BADMODE BADNAME BADALG BADTRUNC BADCOOKIE
"""
_RCODES = _RCODE_NAMES.split()


def parse_rcodes(value: Any) -> tuple[str, ...]:
    """
    Read a response code by name, or several.

    Raises:
        ValueError: The code does not exist.
    """
    codes = tuple(str(one).upper() for one in each(value))
    for code in codes:
        if code not in _RCODES:
            raise ValueError(unknown_name("rcode", code, _RCODES))
    return codes


def _check_rcode(allowed: tuple[str, ...], seen: Seen) -> str | None:
    rcode = seen.answer(DnsAnswer, "DNS reply").rcode
    return None if rcode in allowed else f"rcode {rcode} is not {either(allowed)}"


_FLAG_NAMES = ("AA", "TC", "RA", "AD")
_FLAG_SCHEMA = {"enum": list(_FLAG_NAMES)}
_FLAGS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"set": one_or_list(_FLAG_SCHEMA), "not_set": one_or_list(_FLAG_SCHEMA)},
    "additionalProperties": False,
    "minProperties": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRules:
    """Which flags a DNS reply must have, and which it must not."""

    set: tuple[str, ...] = ()
    not_set: tuple[str, ...] = ()


def parse_flags(value: Any) -> FlagRules:
    """
    Read a flag that must be set or several, or ``{set: …, not_set: …}``.

    Raises:
        ValueError: A flag does not exist, or must be both set and not set.
    """
    if not isinstance(value, Mapping):
        return FlagRules(set=_flags(value))
    rules = mapping(value, _FLAGS_SCHEMA["properties"])
    found = FlagRules(**{key: _flags(one) for key, one in rules.items()})
    for flag in found.set:
        if flag in found.not_set:
            raise ValueError(f"{flag} is under set and under not_set")
    return found


def _flags(value: Any) -> tuple[str, ...]:
    flags = tuple(str(one).upper() for one in each(value))
    for flag in flags:
        if flag not in _FLAG_NAMES:
            raise ValueError(unknown_name("flag", flag, _FLAG_NAMES))
    return flags


def _check_flags(rules: FlagRules, seen: Seen) -> str | None:
    flags = seen.answer(DnsAnswer, "DNS reply").flags
    shown = ", ".join(flags) or "none"
    for flag in rules.set:
        if flag not in flags:
            return f"flag {flag} is not set; those set are: {shown}"
    for flag in rules.not_set:
        if flag in flags:
            return f"flag {flag} is set; those set are: {shown}"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRules:
    """
    The rules for one section of a DNS reply.

    Attributes:
        matches: Patterns; for each of them some record must match.
        not_matches: Patterns that no record may match.
        all_match: Patterns that every record must match; there must be at least one record.
        count: Bounds on the number of records.
        may_be_empty: Whether all_match holds for a section without records.
        of_success: Whether it applies only to NOERROR; other replies have no records.
    """

    matches: tuple[str, ...] = ()
    not_matches: tuple[str, ...] = ()
    all_match: tuple[str, ...] = ()
    count: Count | None = None
    may_be_empty: bool = False
    of_success: bool = False


_RECORDS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "matches": one_or_list(REGEX_SCHEMA),
        "not_matches": one_or_list(REGEX_SCHEMA),
        "all_match": one_or_list(REGEX_SCHEMA),
        "count": COUNT_SCHEMA,
        "empty": {"enum": ["allowed"]},
    },
    "additionalProperties": False,
    "minProperties": 1,
}


def parse_records(value: Any) -> RecordRules:
    """
    Read a pattern or several, or ``{matches: …, not_matches: …, all_match: …, count: …}``.

    With all_match, ``empty: allowed`` lets a section without records pass.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(value, Mapping):
        return RecordRules(matches=patterns(value))
    rules = mapping(value, _RECORDS_SCHEMA["properties"])
    if rules.get("empty", ALLOWED) != ALLOWED:
        raise ValueError(f"empty is allowed or not written, not {rules['empty']!r}")
    return RecordRules(
        matches=patterns(rules["matches"]) if "matches" in rules else (),
        not_matches=patterns(rules["not_matches"]) if "not_matches" in rules else (),
        all_match=patterns(rules["all_match"]) if "all_match" in rules else (),
        count=parse_count(rules["count"]) if "count" in rules else None,
        may_be_empty="empty" in rules,
    )


def _check_records(section: str) -> Callable[[RecordRules, Seen], str | None]:
    def check(rules: RecordRules, seen: Seen) -> str | None:
        reply = seen.answer(DnsAnswer, "DNS reply")
        if rules.of_success and reply.rcode != "NOERROR":
            return None
        records: tuple[str, ...] = getattr(reply, section)
        why = rules.count.why_not(len(records)) if rules.count else None
        if why:
            return f"{section} count {len(records)} {why}"
        needed = rules.matches if rules.may_be_empty else (*rules.matches, *rules.all_match)
        if not records and needed:
            return f"{section} is empty, so nothing matches {seen.quote(needed[0])}"
        for record in records:
            for pattern in rules.all_match:
                if not search(pattern, record):
                    return f"{section} {seen.quote(record)} does not match {seen.quote(pattern)}"
        wanted = TextRules(matches=rules.matches, not_matches=rules.not_matches)
        why = wanted.why_not(records, seen.quote)
        return f"{section} {why}" if why else None

    return check


RCODE = ExpectationKind(
    shape=parsed(tuple[str, ...], parse_rcodes, one_or_list({"enum": _RCODES})),
    reason=Reason.DNS_RCODE,
    check=_check_rcode,
    protocols=only("dns"),
    defaults={"dns": ("NOERROR",)},
    doc="The response code, or several: NOERROR, NXDOMAIN.",
)


FLAGS = ExpectationKind(
    shape=parsed(
        FlagRules, parse_flags, {"anyOf": [*one_or_list(_FLAG_SCHEMA)["anyOf"], _FLAGS_SCHEMA]}
    ),
    reason=Reason.DNS_ANSWER,
    check=_check_flags,
    protocols=only("dns"),
    doc="Flags of the reply that must be set, of AA, TC, RA, AD; or set and not_set:"
    " {set: AD, not_set: TC}.",
)


_RECORDS = parsed(
    RecordRules, parse_records, {"anyOf": [one_or_list(REGEX_SCHEMA), _RECORDS_SCHEMA]}
)


ANSWER = ExpectationKind(
    shape=_RECORDS,
    reason=Reason.DNS_ANSWER,
    check=_check_records("answer"),
    protocols=only("dns"),
    defaults={"dns": RecordRules(count=parse_count({"ge": 1}), of_success=True)},
    doc="Of the answer section: matches, not_matches, all_match, count; by default not empty.",
)


AUTHORITY = ExpectationKind(
    shape=_RECORDS,
    reason=Reason.DNS_ANSWER,
    check=_check_records("authority"),
    protocols=only("dns"),
    doc="Of the authority section: matches, not_matches, all_match, count.",
)


ADDITIONAL = ExpectationKind(
    shape=_RECORDS,
    reason=Reason.DNS_ANSWER,
    check=_check_records("additional"),
    protocols=only("dns"),
    doc="Of the additional section: matches, not_matches, all_match, count.",
)
