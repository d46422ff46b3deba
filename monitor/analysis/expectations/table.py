"""
What must hold of an answer: one table, each row with its form, its check and its message.

The forms are read with the configuration; the checks run in the worker processes. A check returns
None, or why not with the value that broke the rule; what it cannot look at is raised as Unseen,
and fails the expectation too.

What later takes values out of an answer instead of judging it (series, change detection) reads
through Seen and JsonPath as the checks do, and has a table of its own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, assert_never

from monitor.analysis import expression
from monitor.analysis.certificate import covers, show_days, show_moment, why_not_covered
from monitor.analysis.jsonpath import JsonPath, parse_path
from monitor.analysis.rules import (
    COUNT_SCHEMA,
    JSON_RULES_SCHEMA,
    REGEX_SCHEMA,
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
    parse_text,
    parse_text_rules,
    patterns,
    search,
)
from monitor.analysis.seen import Seen, Unseen
from monitor.analysis.text import unknown
from monitor.grammar import TOKEN
from monitor.model import (
    Certificate,
    DnsAnswer,
    ExpectationKind,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    Phase,
    Reason,
    Seconds,
    TcpAnswer,
    Timestamp,
    WebSocketAnswer,
)
from monitor.options import Parsed, parse_duration, show_duration
from monitor.protocols.table import EVERY, OVER_TLS, PROTOCOLS, only

# ---------------------------------------------------------------- status

_SERVING = ("SERVING", "NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN")
_CLASS = re.compile(r"([1-9])[xX]{2}")
_CODES = re.compile(r"([1-9]\d\d)(?:-([1-9]\d\d))?")


@dataclass(frozen=True, slots=True)
class StatusRule:
    """
    Which statuses are good.

    Attributes:
        text: As it was written, for messages: ``2xx, 304``.
        ranges: First and last of each run of HTTP status codes.
        names: Serving statuses of gRPC's health service.
    """

    text: str
    ranges: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()


def parse_status(value: Any) -> StatusRule:
    """
    Read ``204``, ``2xx``, ``200-299``, ``SERVING``, or a list of such.

    Raises:
        ValueError: It is anything else.
    """
    ranges: list[tuple[int, int]] = []
    names: list[str] = []
    for one in each(value):
        text = "" if isinstance(one, bool) else str(one)
        if match := _CLASS.fullmatch(text):
            ranges.append((int(match[1]) * 100, int(match[1]) * 100 + 99))
        elif match := _CODES.fullmatch(text):
            first, last = int(match[1]), int(match[2] or match[1])
            if first > last:
                raise ValueError(f"{text} is empty; the smaller number comes first")
            ranges.append((first, last))
        elif text in _SERVING:
            names.append(text)
        else:
            raise ValueError(f"{one!r} is not a status such as 204, 2xx, 200-299 or SERVING (gRPC)")
    return StatusRule(", ".join(map(str, each(value))), tuple(ranges), tuple(names))


def _check_status(rule: StatusRule, seen: Seen) -> str | None:
    match seen.observation.answer:
        case HttpAnswer(status=status) | WebSocketAnswer(status=status):
            if any(first <= status <= last for first, last in rule.ranges):
                return None
            one = len(rule.ranges) == 1 and rule.ranges[0][0] == rule.ranges[0][1]
            return f"status {status} is not {'' if one else 'in '}{rule.text}"
        case GrpcAnswer(serving_status=serving, status_code=code):
            if serving is None:
                return f"the health service gave no status (gRPC code {code})"
            return None if serving in rule.names else f"status {serving} is not {rule.text}"
        case TcpAnswer() | DnsAnswer() | IcmpAnswer() | None:
            raise Unseen("there is no status to look at")
        case answer:
            assert_never(answer)


def _check_status_protocol(rule: StatusRule, protocol: str) -> None:
    if protocol == "grpc" and rule.ranges:
        raise ValueError(f"grpc checks have no HTTP status; there are {', '.join(_SERVING)}")
    if protocol != "grpc" and rule.names:
        raise ValueError(f"{protocol} checks have no {rule.names[0]}; write codes such as 2xx")


# ---------------------------------------------------------------- header

_HEADER_NAME = re.compile(TOKEN)


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """
    What must hold of one header.

    Attributes:
        name: In lower case.
        absent: Whether it must not be there; None where only its values count.
        optional: Whether its values count only where it is there.
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
        if absent == _ALLOWED:
            return HeaderRule(name.lower(), texts, optional=True)
        return HeaderRule(name.lower(), texts, absent)
    except ValueError as error:
        raise ValueError(f"header {name}: {error}") from error


_ALLOWED = "allowed"


def _split_absent(rules: Any) -> tuple[Any, Any]:
    if not (isinstance(rules, Mapping) and "absent" in rules):
        return None, rules
    others = dict(mapping(rules, ("absent", *TEXT_SCHEMAS)))
    absent = others.pop("absent")
    if absent is not True and absent is not False and absent != _ALLOWED:
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


# ---------------------------------------------------------------- body and JSON


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
    """What must hold of the value at one path."""

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
        parsed = parse_path(str(path))
        try:
            rules.append(JsonRule(parsed, parse_json_rules(expected)))
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


# ---------------------------------------------------------------- latency

_TOTAL = "total"
_PHASES: Mapping[str, frozenset[str]] = {
    phase: frozenset(one.name for one in PROTOCOLS.values() if phase in one.phases)
    for phase in Phase
}


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """The longest that each phase, or ``total``, may take, in seconds."""

    limits: tuple[tuple[str, Seconds], ...]


def parse_latency(value: Any) -> LatencyLimits:
    """
    Read a duration for the whole check, or ``{total: …, connect: …}``.

    Raises:
        ValueError: It is anything else, or no time at all.
    """
    names = (_TOTAL, *_PHASES)
    limits = mapping(value, names) if isinstance(value, Mapping) else {_TOTAL: value}
    parsed = tuple((str(name), parse_duration(limit)) for name, limit in limits.items())
    if any(limit <= 0 for _, limit in parsed):
        raise ValueError("latency must be more than 0s")
    return LatencyLimits(parsed)


def _check_latency(value: LatencyLimits, seen: Seen) -> str | None:
    for name, limit in value.limits:
        if name == _TOTAL:
            taken, subject = seen.observation.duration, "latency"
        else:
            phase = Phase(name)
            if phase not in seen.observation.phases:
                return f"latency of {name} is not known: there was no such phase"
            taken, subject = seen.observation.phases[phase], f"latency of {name}"
        if not taken <= limit:
            return f"{subject} {show_duration(taken)} is over {show_duration(limit)}"
    return None


def _check_latency_protocol(value: LatencyLimits, protocol: str) -> None:
    for name, _ in value.limits:
        if name != _TOTAL and protocol not in _PHASES[name]:
            phases = [phase for phase, protocols in _PHASES.items() if protocol in protocols]
            raise ValueError(
                f"{protocol} checks have no phase {name}; there are {', '.join(phases)}"
            )


# ---------------------------------------------------------------- certificate

_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?) ?%")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRule:
    """
    What must hold of the server's own certificate.

    Attributes:
        valid_for: Seconds it must still be valid for when the check starts, as must those of all
            redirects whose certificates were verified.
        share: The same as a part of the certificate's lifetime, 0 to 1.
        names: Hosts that it must cover, all of them; a wildcard must stand in it as such.
        fingerprints: SHA-256 in lower-case hexadecimal; it must have one of these.
    """

    valid_for: Seconds | None = None
    share: float | None = None
    issuer: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()


def parse_certificate(value: Any) -> CertificateRule:
    """
    Read ``{valid_for: 14d, issuer: …, subject: …, names: [...], fingerprint: …}``.

    Raises:
        ValueError: It is anything else.
    """
    rules = mapping(value, _CERTIFICATE_SCHEMA["properties"])
    seconds, share = _parse_valid_for(rules["valid_for"]) if "valid_for" in rules else (None, None)
    return CertificateRule(
        valid_for=seconds,
        share=share,
        issuer=patterns(rules["issuer"]) if "issuer" in rules else (),
        subject=patterns(rules["subject"]) if "subject" in rules else (),
        names=tuple(map(parse_text, each(rules["names"]))) if "names" in rules else (),
        fingerprints=(
            tuple(map(_parse_fingerprint, each(rules["fingerprint"])))
            if "fingerprint" in rules
            else ()
        ),
    )


def _parse_valid_for(value: Any) -> tuple[Seconds | None, float | None]:
    """Return the seconds of a duration, or the part that a percentage is."""
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return parse_duration(value), None
    share = float(match[1]) / 100
    if not 0 < share < 1:
        raise ValueError(f"{value!r} of a lifetime is not between 0% and 100%")
    return None, share


def _parse_fingerprint(value: Any) -> str:
    text = str(value).lower().removeprefix("sha256:").replace(":", "")
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError(f"{value!r} is not a SHA-256 fingerprint, which has 64 hexadecimal digits")
    return text


def _check_certificate(rule: CertificateRule, seen: Seen) -> str | None:
    leaf = seen.leaf
    for url, one in (*_verified_hops(seen), ("", leaf)):
        if ends := _ends_too_soon(rule, one, seen.observation.time):
            return f"certificate{f' of the redirect from {seen.plain(url)}' if url else ''} {ends}"
    for what, name, wanted in (
        ("issuer", leaf.issuer, rule.issuer),
        ("subject", leaf.subject, rule.subject),
    ):
        for pattern in wanted:
            if not search(pattern, name):
                return f"certificate {what} {seen.quote(name)} does not match {seen.quote(pattern)}"
    for host in rule.names:
        if host.lower() not in leaf.names and not covers(leaf.names, host):
            return why_not_covered(leaf, host)
    if rule.fingerprints and leaf.fingerprint not in rule.fingerprints:
        return f"certificate fingerprint {leaf.fingerprint} is not {_or(rule.fingerprints)}"
    return None


def _verified_hops(seen: Seen) -> Iterator[tuple[str, Certificate]]:
    """Yield from where each redirect came whose certificate was verified, and that certificate."""
    answer = seen.observation.answer
    hops = answer.redirects if isinstance(answer, HttpAnswer) else ()
    for hop, chain in zip(hops, seen.hop_chains, strict=True):
        if chain and hop.tls and hop.tls.verified:
            yield hop.url, chain[0]


def _ends_too_soon(rule: CertificateRule, one: Certificate, now: Timestamp) -> str | None:
    if rule.share is not None:
        needed = rule.share * one.lifetime
        limit = f"{rule.share * 100:g}% of its {show_days(one.lifetime)}"
    elif rule.valid_for is not None:
        needed, limit = rule.valid_for, show_duration(rule.valid_for)
    else:
        return None
    left, when = one.not_after - now, show_moment(one.not_after)
    if left >= needed:
        return None
    if left < 0:
        return f"expired on {when}, {show_days(-left)} ago"
    return f"expires on {when}, in {show_days(left)}, less than {limit}"


_CERTIFICATE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "valid_for": {
            "type": "string",
            "description": "A duration such as 14d, or a part of the lifetime such as 33%; it holds"
            " for the certificates of redirects, too.",
        },
        "issuer": one_or_list(REGEX_SCHEMA),
        "subject": one_or_list(REGEX_SCHEMA),
        "names": one_or_list({"type": "string", "minLength": 1}),
        "fingerprint": one_or_list({"type": "string"}),
    },
    "additionalProperties": False,
    "minProperties": 1,
}

# ---------------------------------------------------------------- versions, TLS, redirects

_HTTP_VERSIONS = ("1.0", "1.1", "2", "3")
_TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")


def parse_http_versions(value: Any) -> tuple[str, ...]:
    """
    Read ``"1.1"``, ``2``, ``3``, or a list of such; quotes do not matter.

    Raises:
        ValueError: There is no such version.
    """
    return tuple(_parse_version(one, "HTTP", _HTTP_VERSIONS) for one in each(value))


def parse_tls_versions(value: Any) -> tuple[str, ...]:
    """
    Return the versions that ``"1.3"``, ``TLS 1.3``, a list, or ``{min: …, max: …}`` allow.

    Raises:
        ValueError: There is no such version, or none between the two.
    """
    if not isinstance(value, Mapping):
        return tuple(_parse_version(one, "TLS", _TLS_VERSIONS) for one in each(value))
    bounds = {
        key: _parse_version(bound, "TLS", _TLS_VERSIONS)
        for key, bound in mapping(value, ("min", "max")).items()
    }
    first, last = bounds.get("min", _TLS_VERSIONS[0]), bounds.get("max", _TLS_VERSIONS[-1])
    allowed = tuple(version for version in _TLS_VERSIONS if first <= version <= last)
    if not allowed:
        raise ValueError(f"no version of TLS is at least {first} and at most {last}")
    return allowed


def _parse_version(value: Any, name: str, known: tuple[str, ...]) -> str:
    text = "" if isinstance(value, bool) else str(value).strip()
    bare = re.sub(rf"(?i)^{name}[ v/]*", "", text)
    for version in known:
        if bare in (version, version + ".0"):
            return version
    raise ValueError(f"{value!r} is not a version of {name}; there are {', '.join(known)}")


def _check_http_version(allowed: tuple[str, ...], seen: Seen) -> str | None:
    version = seen.http.version
    return None if version in allowed else f"HTTP version {version} is not {_or(allowed)}"


def _check_tls(wanted: bool, seen: Seen) -> str | None:
    if wanted == (seen.observation.tls is not None):
        return None
    return f"the final answer {'did not come' if wanted else 'came'} over TLS"


def _check_tls_version(allowed: tuple[str, ...], seen: Seen) -> str | None:
    version = (seen.tls.version or "").removeprefix("TLS ")
    if not version:
        return "TLS version is not known: there was no handshake"
    return None if version in allowed else f"TLS version {version} is not {_or(allowed)}"


def _check_redirects(wanted: Count, seen: Seen) -> str | None:
    followed = len(seen.http.redirects)
    why = wanted.why_not(followed)
    return f"redirects {followed} {why}" if why else None


# ---------------------------------------------------------------- expressions


def parse_expressions(value: Any) -> tuple[str, ...]:
    """Read one CEL expression or several; raises ValueError for one with a mistake."""
    return tuple(map(expression.parse_expression, each(value)))


def _check_expressions_protocol(sources: tuple[str, ...], protocol: str) -> None:
    for source in sources:
        expression.check_protocol(source, protocol)


# ---------------------------------------------------------------- DNS

_RCODE_NAMES = """
    NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE
    DSOTYPENI BADVERS BADSIG BADKEY BADTIME BADMODE BADNAME BADALG BADTRUNC BADCOOKIE
"""
_RCODES = _RCODE_NAMES.split()


def parse_rcodes(value: Any) -> tuple[str, ...]:
    """
    Read a response code by name, or several.

    Raises:
        ValueError: There is no such code.
    """
    codes = tuple(str(one).upper() for one in each(value))
    for code in codes:
        if code not in _RCODES:
            raise ValueError(unknown("rcode", code, _RCODES))
    return codes


def _check_rcode(allowed: tuple[str, ...], seen: Seen) -> str | None:
    rcode = seen.answer(DnsAnswer, "DNS reply").rcode
    return None if rcode in allowed else f"rcode {rcode} is not {_or(allowed)}"


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
        ValueError: There is no such flag, or one is to be both.
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
            raise ValueError(unknown("flag", flag, _FLAG_NAMES))
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
    What must hold of one section of a DNS reply.

    Attributes:
        matches: Patterns each of which some record must match.
        not_matches: Patterns that no record may match.
        all_match: Patterns that every record must match, and there must be one.
        count: Of records.
        may_be_empty: Whether all_match holds where there is no record.
        of_success: Whether it says nothing of replies other than NOERROR, which have no records.
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

    ``empty: allowed`` beside all_match lets a section without records pass.

    Raises:
        ValueError: It is anything else.
    """
    if not isinstance(value, Mapping):
        return RecordRules(matches=patterns(value))
    rules = mapping(value, _RECORDS_SCHEMA["properties"])
    if rules.get("empty", _ALLOWED) != _ALLOWED:
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


def _or(values: tuple[str, ...]) -> str:
    return " or ".join(values)


# ---------------------------------------------------------------- the table

_RECORDS = Annotated[
    RecordRules, Parsed(parse_records, {"anyOf": [one_or_list(REGEX_SCHEMA), _RECORDS_SCHEMA]})
]

EXPECTATIONS: Mapping[str, ExpectationKind] = {
    "status": ExpectationKind(
        shape=Annotated[
            StatusRule,
            Parsed(
                parse_status,
                one_or_list(
                    {
                        "anyOf": [
                            {"type": "integer", "minimum": 100, "maximum": 999},
                            {
                                "type": "string",
                                "pattern": r"^([1-9][xX]{2}|[1-9]\d\d(-[1-9]\d\d)?)$",
                            },
                            {"enum": list(_SERVING)},
                        ]
                    }
                ),
            ),
        ],
        reason=Reason.STATUS,
        check=_check_status,
        protocols=only("http", "ws", "grpc"),
        defaults={
            "http": parse_status("2xx"),
            "ws": parse_status(101),
            "grpc": parse_status("SERVING"),
        },
        check_protocol=_check_status_protocol,
        doc="Good status codes: 204, 2xx, 200-299 or a list; for gRPC serving statuses.",
    ),
    "header": ExpectationKind(
        shape=Annotated[
            tuple[HeaderRule, ...],
            Parsed(
                parse_headers,
                {
                    "type": "object",
                    "additionalProperties": {
                        "anyOf": [
                            TEXT_RULES_SCHEMA,
                            {
                                "type": "object",
                                "properties": {
                                    "absent": {"enum": [True, False, _ALLOWED]},
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
        ],
        reason=Reason.HEADER,
        check=_check_headers,
        protocols=only("http", "ws"),
        doc="By name: a pattern, contains, not_contains, matches, not_matches, or absent: true, "
        "false or allowed.",
    ),
    "body": ExpectationKind(
        shape=Annotated[TextRules, Parsed(parse_text_rules, TEXT_RULES_SCHEMA)],
        reason=Reason.BODY,
        check=_check_body,
        protocols=only("http"),
        reads_body=True,
        doc="A pattern, or contains, not_contains, matches, not_matches; of a list all must hold.",
    ),
    "json": ExpectationKind(
        shape=Annotated[
            tuple[JsonRule, ...],
            Parsed(
                parse_json_expectation,
                {
                    "type": "object",
                    "propertyNames": {"pattern": r"^\$"},
                    "additionalProperties": JSON_RULES_SCHEMA,
                    "minProperties": 1,
                },
            ),
        ],
        reason=Reason.JSON,
        check=_check_json,
        protocols=only("http"),
        reads_body=True,
        doc="By path ($.a.b[0]): a value to be equal to, or a comparison such as {gt: 3}.",
    ),
    "latency": ExpectationKind(
        shape=Annotated[
            LatencyLimits,
            Parsed(
                parse_latency,
                {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in (_TOTAL, *_PHASES)},
                            "additionalProperties": False,
                            "minProperties": 1,
                        },
                    ]
                },
            ),
        ],
        reason=Reason.LATENCY,
        check=_check_latency,
        protocols=EVERY,
        check_protocol=_check_latency_protocol,
        doc="The longest the whole check may take, or each phase: {total: 1s, connect: 100ms}.",
    ),
    "certificate": ExpectationKind(
        shape=Annotated[CertificateRule, Parsed(parse_certificate, _CERTIFICATE_SCHEMA)],
        reason=Reason.CERTIFICATE,
        check=_check_certificate,
        protocols=OVER_TLS,
        doc="Of the server's certificate: valid_for (a duration, or a part of its lifetime such as"
        " 33%; of redirects, too), issuer, subject, names, fingerprint.",
    ),
    "http_version": ExpectationKind(
        shape=Annotated[
            tuple[str, ...],
            Parsed(parse_http_versions, one_or_list({"type": ["string", "number"]})),
        ],
        reason=Reason.HTTP_VERSION,
        check=_check_http_version,
        protocols=only("http"),
        doc="The version of the final answer, or several: 1.1, 2, 3.",
    ),
    "tls": ExpectationKind(
        shape=bool,
        reason=Reason.TLS,
        check=_check_tls,
        protocols=only("http", "tcp", "ws"),
        doc="Whether the final answer must have come over TLS, or must not.",
    ),
    "tls_version": ExpectationKind(
        shape=Annotated[
            tuple[str, ...],
            Parsed(
                parse_tls_versions,
                {
                    "anyOf": [
                        *one_or_list({"type": ["string", "number"]})["anyOf"],
                        {
                            "type": "object",
                            "properties": {
                                bound: {"type": ["string", "number"]} for bound in ("min", "max")
                            },
                            "additionalProperties": False,
                            "minProperties": 1,
                        },
                    ]
                },
            ),
        ],
        reason=Reason.TLS_VERSION,
        check=_check_tls_version,
        protocols=OVER_TLS,
        doc="The version of TLS, several, or {min: 1.2, max: 1.3}.",
    ),
    "redirects": ExpectationKind(
        shape=Annotated[Count, Parsed(parse_count, COUNT_SCHEMA)],
        reason=Reason.REDIRECTS,
        check=_check_redirects,
        protocols=only("http"),
        doc="How many redirects were followed: 0, 1-3, or {le: 2}.",
    ),
    "that": ExpectationKind(
        shape=Annotated[
            tuple[str, ...],
            Parsed(parse_expressions, one_or_list({"type": "string", "minLength": 1})),
        ],
        reason=Reason.EXPRESSION,
        check=expression.why_not_all,
        protocols=EVERY,
        reads_body=True,
        reads_body_when=lambda sources: any(map(expression.uses_body, sources)),
        check_protocol=_check_expressions_protocol,
        doc="A CEL expression, or several; each must be true. latency and rtt are numbers of"
        " seconds, certificate.days_left of days: latency < 0.3.",
    ),
    "rcode": ExpectationKind(
        shape=Annotated[tuple[str, ...], Parsed(parse_rcodes, one_or_list({"enum": _RCODES}))],
        reason=Reason.DNS_RCODE,
        check=_check_rcode,
        protocols=only("dns"),
        defaults={"dns": ("NOERROR",)},
        doc="The response code, or several: NOERROR, NXDOMAIN.",
    ),
    "flags": ExpectationKind(
        shape=Annotated[
            FlagRules,
            Parsed(parse_flags, {"anyOf": [*one_or_list(_FLAG_SCHEMA)["anyOf"], _FLAGS_SCHEMA]}),
        ],
        reason=Reason.DNS_ANSWER,
        check=_check_flags,
        protocols=only("dns"),
        doc="Flags of the reply that must be set, of AA, TC, RA, AD; or set and not_set:"
        " {set: AD, not_set: TC}.",
    ),
    "answer": ExpectationKind(
        shape=_RECORDS,
        reason=Reason.DNS_ANSWER,
        check=_check_records("answer"),
        protocols=only("dns"),
        defaults={"dns": RecordRules(count=parse_count({"ge": 1}), of_success=True)},
        doc="Of the answer section: matches, not_matches, all_match, count; by default not empty.",
    ),
    "authority": ExpectationKind(
        shape=_RECORDS,
        reason=Reason.DNS_ANSWER,
        check=_check_records("authority"),
        protocols=only("dns"),
        doc="Of the authority section: matches, not_matches, all_match, count.",
    ),
    "additional": ExpectationKind(
        shape=_RECORDS,
        reason=Reason.DNS_ANSWER,
        check=_check_records("additional"),
        protocols=only("dns"),
        doc="Of the additional section: matches, not_matches, all_match, count.",
    ),
}
"""Everything that may stand under ``expect``, in the order of a transaction (model.Reason)."""
