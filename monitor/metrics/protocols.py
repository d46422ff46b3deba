"""The series of one check that blackbox_exporter also has, by protocol."""

import re
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from time import strptime
from typing import TypeAlias

from monitor.metrics.lines import SampleLines, label_of_few, label_text
from monitor.model import (
    Analysis,
    Certificate,
    DnsAnswer,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    Observation,
    Phase,
    Reason,
    Result,
    Seconds,
    Site,
    TcpAnswer,
    Timestamp,
    WebSocketAnswer,
)
from monitor.protocols.facet import Headers
from monitor.protocols.table import SCHEMES
from monitor.records import replace


def show_result(lines: SampleLines, site: Site, result: Result) -> None:
    """
    Add only the series that blackbox_exporter shows for such a check.

    Raises:
        ValueError: The check was not finished: the monitor could not make or judge it.
    """
    seen, analysis = result.observation, result.analysis
    if analysis is None:
        raise ValueError(f"the check of {result.site} has no verdict to show")
    protocol, hash_ = _address(seen.address) if seen.address else (0, 0)
    lines.plain(
        {
            "probe_success": int(analysis.verdict.up),
            "probe_duration_seconds": seen.duration,
            "probe_timeout_seconds": site.timeout,
            "probe_dns_lookup_time_seconds": _lookup_time(seen),
            "probe_ip_protocol": protocol,
            "probe_ip_addr_hash": hash_,
        }
    )
    broken = analysis.broken
    if "that" in dict(site.expect):
        # blackbox_exporter evaluates expressions only if the rest of the answer is right
        reached = not any(key in broken for key in ("status", "header", "body"))
        lines.plain({"probe_failed_due_to_cel": int(reached and "that" in broken)})
    SERIES[SCHEMES[site.scheme].name](lines, seen, analysis)
    if seen.tls is not None:
        _show_tls(lines, site, seen, analysis)


def _http(lines: SampleLines, seen: Observation, analysis: Analysis) -> None:
    phases = _HTTP_PHASES[:1] if _name_failed(seen) else _HTTP_PHASES
    lines.labelled("probe_http_duration_seconds", _phases(seen, phases))
    broken = analysis.broken
    values: dict[str, float] = {
        # blackbox_exporter compares patterns only if the status is right
        "probe_failed_due_to_regex": int(
            "status" not in broken and ("header" in broken or "body" in broken)
        ),
    }
    answer = seen.answer
    if isinstance(answer, HttpAnswer):
        values |= {
            "probe_http_content_length": answer.content_length,
            "probe_http_uncompressed_body_length": answer.body_size,
            "probe_http_redirects": len(answer.redirects),
            "probe_http_ssl": int(seen.tls is not None),
            "probe_http_status_code": answer.status,
            "probe_http_version": _HTTP_VERSIONS.get(answer.version, 0.0),
        }
        modified = _last_modified(answer.headers)
        if modified is not None:
            values["probe_http_last_modified_timestamp_seconds"] = modified
    else:
        values |= _NO_HTTP_ANSWER
        values["probe_http_redirects"] = seen.redirects
    lines.plain(values)
    if seen.tls is not None and seen.tls.cipher is not None:
        lines.info("probe_tls_cipher_info", label_of_few("cipher", seen.tls.cipher))


HTTP_TIMES = (
    "probe_duration_seconds",
    "probe_dns_lookup_time_seconds",
    "probe_http_duration_seconds",
)


def http_times(seen: Observation) -> tuple[Seconds, ...]:
    """Return the values of the families in `HTTP_TIMES`, of a check that got an answer."""
    return seen.duration, _lookup_time(seen), *_seconds(seen, _HTTP_PHASES)


def repeats(seen: Observation, last: Observation) -> bool:
    """Return whether two HTTP checks of a site, judged alike, differ at most in `HTTP_TIMES`."""
    answer, before = seen.answer, last.answer
    return (
        isinstance(answer, HttpAnswer)
        and isinstance(before, HttpAnswer)
        and seen.failure is None
        and last.failure is None
        and seen.address == last.address
        and seen.tls == last.tls
        and answer.status == before.status
        and answer.version == before.version
        and answer.content_length == before.content_length
        and answer.body_size == before.body_size
        and len(answer.redirects) == len(before.redirects)
        and _are_modified_alike(answer.headers, before.headers)
    )


def _tcp(lines: SampleLines, seen: Observation, analysis: Analysis) -> None:
    broke = analysis.verdict.reason is Reason.TCP_DIALOGUE
    answer = seen.answer if isinstance(seen.answer, TcpAnswer) else None
    if not broke and answer is None:
        return
    by_bytes = broke and answer is not None and answer.bytes_differ
    by_pattern = broke and not by_bytes
    lines.plain(
        {
            "probe_failed_due_to_regex": int(by_pattern),
            "probe_failed_due_to_bytes": int(by_bytes),
        }
    )
    if answer is not None and answer.captures:
        labels: dict[str, str] = {}
        for name, value in answer.captures:
            if _LABEL_NAME.fullmatch(name):
                labels[lines.free_label(name)] = value
        if labels:
            lines.info("probe_expect_info", ",".join(map(label_text, labels, labels.values())))


def _icmp(lines: SampleLines, seen: Observation, _: Analysis) -> None:
    lines.labelled("probe_icmp_duration_seconds", _phases(seen, _ICMP_PHASES))
    if isinstance(seen.answer, IcmpAnswer) and seen.answer.hop_limit is not None:
        lines.plain({"probe_icmp_reply_hop_limit": seen.answer.hop_limit})


def _dns(lines: SampleLines, seen: Observation, _: Analysis) -> None:
    phases = _phases(_with_tls_in(Phase.CONNECT, seen), _DNS_PHASES)
    lines.labelled("probe_dns_duration_seconds", phases)
    answer = seen.answer if isinstance(seen.answer, DnsAnswer) else None
    lines.plain(
        {
            "probe_dns_answer_rrs": len(answer.answer) if answer else 0,
            "probe_dns_authority_rrs": len(answer.authority) if answer else 0,
            "probe_dns_additional_rrs": len(answer.additional) if answer else 0,
            "probe_dns_query_succeeded": int(answer is not None),
        }
    )
    if answer and answer.serial is not None:
        lines.plain({"probe_dns_serial": answer.serial})


def _grpc(lines: SampleLines, seen: Observation, _: Analysis) -> None:
    answer = seen.answer if isinstance(seen.answer, GrpcAnswer) else None
    secure = answer is not None and seen.tls is not None
    tried = not _name_failed(seen)
    if answer is None and tried:
        # In gRPC, a missing connection has a status code like any other result
        timed_out = seen.failure is not None and seen.failure.reason in _CONNECT_TIMEOUTS
        answer = GrpcAnswer(status_code=_DEADLINE_EXCEEDED if timed_out else _UNAVAILABLE)
    phases = _GRPC_PHASES if tried else _GRPC_PHASES[:1]
    lines.labelled("probe_grpc_duration_seconds", _phases(seen, phases))
    lines.plain(
        {
            "probe_grpc_ssl": int(secure),
            "probe_grpc_status_code": answer.status_code if answer else 0,
        }
    )
    if answer:
        lines.labelled(
            "probe_grpc_healthcheck_response",
            [
                (f'serving_status="{status}"', int(status == answer.serving_status))
                for status in _SERVING_STATUSES
            ],
        )


def _websocket(lines: SampleLines, seen: Observation, analysis: Analysis) -> None:
    answer = seen.answer if isinstance(seen.answer, WebSocketAnswer) else None
    lines.plain(
        {
            "probe_websocket_status_code": answer.status if answer else 0,
            "probe_websocket_connection_upgraded": int(answer is not None and answer.upgraded),
            "probe_websocket_failed_due_to_regex": int(
                analysis.verdict.reason is Reason.TCP_DIALOGUE
            ),
        }
    )
    phases = _with_tls_in(Phase.PROCESSING, seen).phases
    if phases:
        lines.labelled(
            "probe_websocket_duration_seconds",
            [(_PHASE_LABELS[phase], seconds) for phase, seconds in phases.items()],
        )


_Show: TypeAlias = Callable[[SampleLines, Observation, Analysis], None]
SERIES: Mapping[str, _Show] = {
    "http": _http,
    "tcp": _tcp,
    "tls": _tcp,
    "icmp": _icmp,
    "dns": _dns,
    "ws": _websocket,
    "grpc": _grpc,
    "push": lambda *_: None,
}
"""By the name of the protocol (protocols/table.py)."""
_PHASE_LABELS: Mapping[Phase, str] = {phase: f'phase="{phase}"' for phase in Phase}
_HTTP_PHASES = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING, Phase.TRANSFER)
_ICMP_PHASES = (Phase.RESOLVE, Phase.SETUP, Phase.RTT)
_DNS_PHASES = (Phase.RESOLVE, Phase.CONNECT, Phase.REQUEST)
_GRPC_PHASES = (Phase.RESOLVE, Phase.CHECK)
_NO_HTTP_ANSWER: Mapping[str, float] = dict.fromkeys(
    (
        "probe_http_content_length",
        "probe_http_uncompressed_body_length",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_version",
    ),
    0,
)
_HTTP_VERSIONS: Mapping[str, float] = {"1.0": 1.0, "1.1": 1.1, "2": 2.0, "3": 3.0}
_DEADLINE_EXCEEDED = 4
_UNAVAILABLE = 14
_CONNECT_TIMEOUTS = frozenset((Reason.CONNECT_TIMEOUT, Reason.TLS_TIMEOUT))
_SERVING_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_NAME_FAILURES = frozenset((Reason.DNS_NOT_FOUND, Reason.DNS_ERROR, Reason.DNS_TIMEOUT))
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


def _phases(seen: Observation, phases: Sequence[Phase]) -> list[tuple[str, Seconds]]:
    """Return the samples of these phases, resolve first; a phase that was not reached is 0."""
    return [*zip(map(_PHASE_LABELS.__getitem__, phases), _seconds(seen, phases), strict=True)]


def _seconds(seen: Observation, phases: Sequence[Phase]) -> list[Seconds]:
    found = [seen.phases.get(phase, 0.0) for phase in phases]
    found[0] = _lookup_time(seen)
    return found


def _with_tls_in(other: Phase, seen: Observation) -> Observation:
    """Return the check with the time of TLS added to another phase, because TLS has no series."""
    if Phase.TLS not in seen.phases:
        return seen
    phases = dict(seen.phases)
    phases[other] = phases.get(other, 0.0) + phases.pop(Phase.TLS)
    return replace(seen, phases=phases)


def _name_failed(seen: Observation) -> bool:
    """Return whether the check ended because the first name could not be resolved."""
    failed = seen.failure is not None and seen.failure.reason in _NAME_FAILURES
    return failed and Phase.CONNECT not in seen.phases


def _lookup_time(seen: Observation) -> Seconds:
    """Return how long the look-up took; if it failed, it took the whole check."""
    seconds = seen.phases.get(Phase.RESOLVE)
    if seconds is None:
        return seen.duration if _name_failed(seen) else 0.0
    return seconds


@lru_cache(maxsize=65_536)
def _address(text: str) -> tuple[int, int]:
    """Return 4 or 6, and the 32-bit FNV-1a hash of the address's 4 or 16 bytes."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    hashed = 0x811C9DC5
    for byte in address.packed:
        hashed = (hashed ^ byte) * 0x01000193 & 0xFFFFFFFF
    return address.version, hashed


# ---------------------------------------------------------------- Last-Modified

_HTTP_DATES = (  # RFC 9110, 5.6.7: one format to send, and two more to accept
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
)
_LONGEST_DATE = 40


def _are_modified_alike(headers: Headers, before: Headers) -> bool:
    """Return whether two answers have the same Last-Modified, which most repeat line by line."""
    if len(headers) == len(before):
        for one, other in zip(headers, before, strict=True):
            if one is not other and "last-modified" in (one[0].lower(), other[0].lower()):
                break
        else:
            return True
    return _last_modified(headers) == _last_modified(before)


def _last_modified(headers: Headers) -> Timestamp | None:
    """Return the time of the first Last-Modified header; None if it is missing or no date."""
    for name, value in headers:
        # The length first: some servers send a thousand headers.
        if len(name) == len("last-modified") and name.lower() == "last-modified":
            return _http_date(value) if len(value) <= _LONGEST_DATE else None
    return None


@lru_cache(maxsize=16_384)
def _http_date(text: str) -> Timestamp | None:
    for form in _HTTP_DATES:
        try:
            return float(timegm(strptime(text, form)))
        except ValueError:
            continue
    return None


# ---------------------------------------------------------------- certificates


def _show_tls(lines: SampleLines, site: Site, seen: Observation, analysis: Analysis) -> None:
    """
    Add the last connection's handshake and certificates, accepted or not.

    blackbox_exporter does not show a chain that it refused, or any for DNS and WebSockets over TLS.
    """
    if seen.tls is not None and seen.tls.version is not None:
        lines.info("probe_tls_version_info", label_of_few("version", seen.tls.version))
    chain = analysis.chain
    if not chain:
        return
    lines.plain({"probe_ssl_earliest_cert_expiry": min(one.not_after for one in chain)})
    lines.info("probe_ssl_last_chain_info", _leaf_labels(chain[0]))
    trusted = seen.tls is not None and seen.tls.verified
    if trusted and analysis.validity and site.scheme != "grpcs":
        lines.plain({"probe_ssl_last_chain_expiry_timestamp_seconds": analysis.validity[1]})


_NO_DNS_NAME = re.compile(r"[\d.]+|.*:.*")


_WORTH_KEEPING = 2000


def _leaf_labels(leaf: Certificate) -> str:
    # A server that sends a new certificate of 100 kB at every check must not fill the memory.
    size = len(leaf.subject) + len(leaf.issuer) + sum(map(len, leaf.names))
    describe = _known_leaf if size <= _WORTH_KEEPING else _describe_leaf
    # Strings instead of the record, because its hash and comparison are slow.
    return describe(leaf.fingerprint, leaf.subject, leaf.issuer, leaf.names, leaf.serial)


def _describe_leaf(
    fingerprint: str, subject: str, issuer: str, names: tuple[str, ...], serial: str
) -> str:
    labels = {
        "fingerprint_sha256": fingerprint,
        "subject": subject,
        "issuer": issuer,
        "subjectalternative": ",".join(
            name.removeprefix("DNS:")
            for name in names
            if name.startswith("DNS:") or not _NO_DNS_NAME.fullmatch(name)
        ),
        "serialnumber": serial.zfill(len(serial) + len(serial) % 2),  # Go shows whole bytes
    }
    return ",".join(map(label_text, labels, labels.values()))


_known_leaf = lru_cache(maxsize=4096)(_describe_leaf)
