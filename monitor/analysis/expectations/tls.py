"""Expectations for a certificate and a TLS connection."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monitor.analysis.certificate import covers, show_days, why_not_covered
from monitor.analysis.expectations.words import either, parse_version, parsed
from monitor.analysis.rules import (
    REGEX_SCHEMA,
    each,
    mapping,
    one_or_list,
    parse_text,
    patterns,
    search,
)
from monitor.analysis.seen import Seen
from monitor.model import Certificate, ExpectationKind, HttpAnswer, Reason, Seconds, Timestamp
from monitor.options import LONGEST_KEPT, duration, show_duration, show_minute
from monitor.protocols.table import OVER_TLS, only

_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?) ?%")
_REMAINING = duration(0.0, LONGEST_KEPT)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRule:
    """
    The expectation for the server's own certificate.

    Attributes:
        valid_for: Seconds for which it must still be valid when the check starts; this also applies
            to all redirects whose certificates were verified.
        share: The same as a fraction of the certificate's lifetime, 0 to 1.
        names: Hosts that it must cover, all of them; a wildcard here must be one of its names.
        fingerprints: SHA-256 in lower-case hexadecimal; it must have one of them.
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
    """Return the seconds of a duration, or the fraction for a percentage."""
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return _REMAINING.parse(value), None
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
        return f"certificate fingerprint {leaf.fingerprint} is not {either(rule.fingerprints)}"
    return None


def _verified_hops(seen: Seen) -> Iterator[tuple[str, Certificate]]:
    """Yield the origin and the certificate of each redirect with a verified certificate."""
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
    left, when = one.not_after - now, show_minute(one.not_after)
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


CERTIFICATE = ExpectationKind(
    shape=parsed(CertificateRule, parse_certificate, _CERTIFICATE_SCHEMA),
    reason=Reason.CERTIFICATE,
    check=_check_certificate,
    protocols=OVER_TLS,
    compares=True,
    compares_when=lambda rule: not (rule.issuer or rule.subject),  # these are patterns
    doc="Of the server's certificate: valid_for (a duration, or a part of its lifetime such as"
    " 33%; of redirects, too), issuer, subject, names, fingerprint.",
)


_TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")


def parse_tls_versions(value: Any) -> tuple[str, ...]:
    """
    Return the versions that ``"1.3"``, ``TLS 1.3``, a list, or ``{min: …, max: …}`` allow.

    Raises:
        ValueError: A version does not exist, or no version lies between the two.
    """
    if not isinstance(value, Mapping):
        return tuple(parse_version(one, "TLS", _TLS_VERSIONS) for one in each(value))
    bounds = {
        key: parse_version(bound, "TLS", _TLS_VERSIONS)
        for key, bound in mapping(value, ("min", "max")).items()
    }
    first, last = bounds.get("min", _TLS_VERSIONS[0]), bounds.get("max", _TLS_VERSIONS[-1])
    allowed = tuple(version for version in _TLS_VERSIONS if first <= version <= last)
    if not allowed:
        raise ValueError(f"no version of TLS is at least {first} and at most {last}")
    return allowed


def _check_tls(wanted: bool, seen: Seen) -> str | None:
    if wanted == (seen.observation.tls is not None):
        return None
    return f"the final answer {'did not come' if wanted else 'came'} over TLS"


TLS = ExpectationKind(
    shape=bool,
    reason=Reason.TLS,
    check=_check_tls,
    protocols=only("http", "tcp", "ws"),
    compares=True,
    doc="Whether the final answer must have come over TLS, or must not.",
)


def _check_tls_version(allowed: tuple[str, ...], seen: Seen) -> str | None:
    version = (seen.tls.version or "").removeprefix("TLS ")
    if not version:
        return "TLS version is not known: there was no handshake"
    return None if version in allowed else f"TLS version {version} is not {either(allowed)}"


TLS_VERSION = ExpectationKind(
    shape=parsed(
        tuple[str, ...],
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
    reason=Reason.TLS_VERSION,
    check=_check_tls_version,
    protocols=OVER_TLS,
    compares=True,
    doc="The version of TLS, several, or {min: 1.2, max: 1.3}.",
)
