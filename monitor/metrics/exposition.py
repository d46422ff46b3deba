"""
The series of sites as text: rendered when a result arrives, joined when Prometheus asks.

``render`` runs in the main thread for every result; ``Exposition`` in the web thread. The same text
serves the text format 0.0.4 and OpenMetrics 1.0: only HELP, TYPE and the end differ. It is handed
out in short pieces, because whoever holds the interpreter for long makes running checks look slow.
"""

import re
from calendar import timegm
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import accumulate
from time import strptime
from typing import TypeAlias

from monitor.board import Entry, Series, Shape, StatusBoard
from monitor.clock import Clock
from monitor.metrics.families import FAMILIES, SITE_LABELS
from monitor.metrics.internal import Internal
from monitor.metrics.negotiation import negotiate
from monitor.model import (
    Analysis,
    Certificate,
    DnsAnswer,
    Extracted,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    Observation,
    Phase,
    Reason,
    Result,
    Seconds,
    Site,
    SiteState,
    Status,
    TcpAnswer,
    Timestamp,
    WebSocketAnswer,
)
from monitor.protocols.table import SCHEMES

# ---------------------------------------------------------------- labels and lines

_PLACES: Mapping[str, int] = {family.name: place for place, family in enumerate(FAMILIES)}
_SPECIAL = re.compile(r'[\\"\n\ud800-\udfff]')
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def _label(name: str, value: str) -> str:
    return f'{name}="{_SPECIAL.sub(_escaped, value)}"'


def _escaped(special: re.Match[str]) -> str:
    # What came from the environment or a file as broken UTF-8 has lone surrogates, which nothing
    # can encode.
    return _ESCAPES.get(special[0], "\N{REPLACEMENT CHARACTER}")


def _site_labels(site: Site) -> str:
    values = zip(SITE_LABELS, (site.name, site.target, site.group), strict=True)
    return ",".join([_label(name, value) for name, value in (*values, *site.labels)])


@lru_cache(maxsize=1024)
def _shape(names: tuple[str, ...]) -> Shape:
    return Shape(tuple(sorted(names, key=_PLACES.__getitem__)))


@lru_cache(maxsize=4096)
def _label_of_few(name: str, value: str) -> str:
    """Return the label of a value that is one of a handful, such as a TLS version."""
    return _label(name, value)


class _Lines:
    """
    The sample lines of one site, by family.

    Args:
        site: Whose labels every line carries; without one they carry none but their own.
    """

    __slots__ = ("_alone", "_before", "_site", "_texts")

    def __init__(self, site: Site | None) -> None:
        self._site = site
        self._texts: dict[str, str] = {}
        self._alone, self._before = "", "{"
        if site is not None:
            labels = _site_labels(site)
            self._alone, self._before = f"{{{labels}}}", f"{{{labels},"

    def plain(self, values: Mapping[str, float]) -> None:
        """Add families of one sample each."""
        labels = self._alone
        for name, value in values.items():
            self._texts[name] = f"{name}{labels} {value!r}\n"

    def labelled(self, name: str, samples: Iterable[tuple[str, float]]) -> None:
        """Add the samples of one family, each with the text of its own labels."""
        head = name + self._before
        self._texts[name] = "".join([f"{head}{label}}} {value!r}\n" for label, value in samples])

    def info(self, name: str, labels: str) -> None:
        """Add a family whose one sample says all by its labels."""
        self._texts[name] = f"{name}{self._before}{labels}}} 1\n"

    def histogram(
        self, name: str, bounds: Sequence[str], counts: Sequence[int], total: float
    ) -> None:
        """Add a histogram from counts that are not cumulative; the last bound is ``+Inf``."""
        head = f"{name}_bucket{self._before}"
        reached = [*accumulate(counts)]
        lines = [f"{head}{bound}}} {count}\n" for bound, count in zip(bounds, reached, strict=True)]
        lines.append(f"{name}_sum{self._alone} {total!r}\n")
        lines.append(f"{name}_count{self._alone} {reached[-1]}\n")
        self._texts[name] = "".join(lines)

    def free_label(self, name: str) -> str:
        """Return a name no label of the site has: as in Prometheus, what is taken is exported_."""
        if self._site is not None:
            taken = {*SITE_LABELS, *dict(self._site.labels)}
            while name in taken:
                name = f"exported_{name}"
        return name

    def series(self) -> Series:
        texts = self._texts
        shape = _shape(tuple(texts))
        # As bytes: each is 16 smaller than a text, and they are many
        return Series(shape, tuple([texts[name].encode() for name in shape.families]))


def render(state: SiteState, bounds: tuple[Seconds, ...]) -> Series:
    """
    Return the site's sample lines as they stand after a result.

    Args:
        bounds: Of the histogram; those that the site's counters were made with.
    """
    site = state.site
    lines = _Lines(site)
    if state.finished is not None:
        _show_result(lines, site, state.finished)
    _show_state(lines, state, bounds)
    return lines.series()


# ---------------------------------------------------------------- what we count ourselves


@lru_cache(maxsize=64)
def _bucket_labels(bounds: tuple[Seconds, ...]) -> tuple[str, ...]:
    return (*(f'le="{float(bound)}"' for bound in bounds), 'le="+Inf"')


def _show_state(lines: _Lines, state: SiteState, bounds: tuple[Seconds, ...]) -> None:
    counters = state.counters
    values: dict[str, float] = {
        "monitor_checks_total": counters.checks,
        "monitor_check_errors_total": counters.errors,
        "monitor_site_state_since_timestamp_seconds": state.since,
        "monitor_site_flapping": int(state.flapping),
        "monitor_site_maintenance": int(state.maintenance),
        "monitor_site_check_error": int(state.last is not None and state.last.error is not None),
        "monitor_site_interval_seconds": state.site.interval,
    }
    if state.status is Status.UP:
        values["monitor_site_up"] = 1
    elif state.status is Status.DOWN:
        values["monitor_site_up"] = 0
    if state.finished is not None:
        seen = state.finished.observation
        values["monitor_last_check_timestamp_seconds"] = seen.time
        if seen.tls is not None and seen.tls.verified is not None:
            values["monitor_certificate_verified"] = int(seen.tls.verified)
        analysis = state.finished.analysis
        if analysis is not None:
            if analysis.validity is not None:
                not_before, _ = analysis.validity
                values["monitor_certificate_not_before_timestamp_seconds"] = not_before
            if analysis.client is not None:
                ends = analysis.client.not_after
                values["monitor_client_certificate_expiry_timestamp_seconds"] = ends
            if analysis.extracted:
                _show_extracted(lines, analysis.extracted)
    if state.content_changed is not None:
        values["monitor_content_changed_timestamp_seconds"] = state.content_changed
    lines.plain(values)
    for name, label, counts in (
        ("monitor_check_failures_total", "reason", counters.failures),
        ("monitor_checks_skipped_total", "cause", counters.skipped),
    ):
        if counts:
            samples = [(_label_of_few(label, value), count) for value, count in counts.items()]
            lines.labelled(name, samples)
    buckets = _bucket_labels(bounds)
    durations = counters.durations or (0,) * len(buckets)
    lines.histogram("monitor_check_duration_seconds", buckets, durations, counters.duration_sum)


def _show_extracted(lines: _Lines, extracted: tuple[Extracted, ...]) -> None:
    numbers: list[tuple[str, float]] = []
    texts: list[tuple[str, float]] = []
    for one in extracted:
        name = _label_of_few("name", one.name)
        if isinstance(one.value, str):
            texts.append((f"{name},{_label('value', one.value)}", 1))
        elif one.value is not None:
            numbers.append((name, one.value))
    if numbers:
        lines.labelled("monitor_extracted_value", numbers)
    if texts:
        lines.labelled("monitor_extracted_info", texts)


# ---------------------------------------------------------------- what blackbox_exporter shows


def _show_result(lines: _Lines, site: Site, result: Result) -> None:
    """
    Add what blackbox_exporter would show of this check, present exactly where it shows it.

    Raises:
        ValueError: The check was not finished: the monitor could not look or judge.
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
        # It evaluates expressions only on answers that are right so far.
        reached = not any(key in broken for key in ("status", "header", "body"))
        lines.plain({"probe_failed_due_to_cel": int(reached and "that" in broken)})
    SERIES[SCHEMES[site.scheme].name](lines, seen, analysis)
    if seen.tls is not None:
        _show_tls(lines, site, seen, analysis)


def _http(lines: _Lines, seen: Observation, analysis: Analysis) -> None:
    phases = _HTTP_PHASES[:1] if _name_failed(seen) else _HTTP_PHASES
    lines.labelled("probe_http_duration_seconds", _phases(seen, phases))
    broken = analysis.broken
    values: dict[str, float] = {
        # It holds patterns only against answers whose status is right.
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
        lines.info("probe_tls_cipher_info", _label_of_few("cipher", seen.tls.cipher))


def _tcp(lines: _Lines, seen: Observation, analysis: Analysis) -> None:
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
            lines.info("probe_expect_info", ",".join(map(_label, labels, labels.values())))


def _icmp(lines: _Lines, seen: Observation, _: Analysis) -> None:
    lines.labelled("probe_icmp_duration_seconds", _phases(seen, _ICMP_PHASES))
    if isinstance(seen.answer, IcmpAnswer) and seen.answer.hop_limit is not None:
        lines.plain({"probe_icmp_reply_hop_limit": seen.answer.hop_limit})


def _dns(lines: _Lines, seen: Observation, _: Analysis) -> None:
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


def _grpc(lines: _Lines, seen: Observation, _: Analysis) -> None:
    answer = seen.answer if isinstance(seen.answer, GrpcAnswer) else None
    secure = answer is not None and seen.tls is not None
    tried = not _name_failed(seen)
    if answer is None and tried:
        # To gRPC that there is no connection is a status like others
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


def _websocket(lines: _Lines, seen: Observation, analysis: Analysis) -> None:
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


_Show: TypeAlias = Callable[[_Lines, Observation, Analysis], None]
SERIES: Mapping[str, _Show] = {
    "http": _http,
    "tcp": _tcp,
    "tls": _tcp,
    "icmp": _icmp,
    "dns": _dns,
    "ws": _websocket,
    "grpc": _grpc,
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


def _phases(seen: Observation, phases: Iterable[Phase]) -> list[tuple[str, Seconds]]:
    """Return these phases, of which resolve is the first; one that was not reached is 0."""
    samples = [(_PHASE_LABELS[phase], seen.phases.get(phase, 0.0)) for phase in phases]
    samples[0] = (samples[0][0], _lookup_time(seen))
    return samples


def _with_tls_in(other: Phase, seen: Observation) -> Observation:
    """Return the check with TLS as a part of another phase, where it has no series of its own."""
    if Phase.TLS not in seen.phases:
        return seen
    phases = dict(seen.phases)
    phases[other] = phases.get(other, 0.0) + phases.pop(Phase.TLS)
    return replace(seen, phases=phases)


def _name_failed(seen: Observation) -> bool:
    """Tell whether the first name could not be resolved, so that nothing else was tried."""
    failed = seen.failure is not None and seen.failure.reason in _NAME_FAILURES
    return failed and Phase.CONNECT not in seen.phases


def _lookup_time(seen: Observation) -> Seconds:
    """Return how long the name took; where it was not found, that was all of the check."""
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

_HTTP_DATES = (  # RFC 9110, 5.6.7: the one to send, and two to understand
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
)
_LONGEST_DATE = 40


def _last_modified(headers: tuple[tuple[str, str], ...]) -> Timestamp | None:
    """Return the first Last-Modified header's time; None without one that is a date."""
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


def _show_tls(lines: _Lines, site: Site, seen: Observation, analysis: Analysis) -> None:
    """
    Add what is known of the last connection's handshake, whether or not it was accepted.

    Unlike blackbox_exporter, which knows nothing of a chain it refused, and shows none for DNS and
    WebSockets over TLS.
    """
    if seen.tls is not None and seen.tls.version is not None:
        lines.info("probe_tls_version_info", _label_of_few("version", seen.tls.version))
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
    # A server that shows a new certificate of 100 kB at every check must not fill the memory.
    size = len(leaf.subject) + len(leaf.issuer) + sum(map(len, leaf.names))
    describe = _known_leaf if size <= _WORTH_KEEPING else _describe_leaf
    # Strings and not the record, whose own hash and comparison are slow.
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
        "serialnumber": serial.zfill(len(serial) + len(serial) % 2),  # it shows whole bytes
    }
    return ",".join(map(_label, labels, labels.values()))


_known_leaf = lru_cache(maxsize=4096)(_describe_leaf)


# ---------------------------------------------------------------- what Prometheus is answered

_TEXTS_IN_PIECE = 500
"""Most have one line, a histogram eight; such a piece is joined in far less than 1 ms."""
_HEADERS: Mapping[bool, Mapping[str, bytes]] = {
    openmetrics: {
        family.name: family.header(openmetrics=openmetrics).encode() for family in FAMILIES
    }
    for openmetrics in (False, True)
}
_END = b"# EOF\n"


def expose(serieses: Iterable[Series], *, openmetrics: bool) -> Iterator[bytes]:
    """
    Yield the families that have samples, each under its HELP and TYPE, in short pieces.

    What ends an OpenMetrics exposition is left to the caller.
    """
    alike: defaultdict[Shape, list[tuple[bytes, ...]]] = defaultdict(list)
    for series in serieses:
        alike[series.shape].append(series.texts)
    pieces: defaultdict[str, list[Iterator[tuple[bytes, ...]]]] = defaultdict(list)
    for shape, rows in alike.items():
        by_family = _by_family(rows)
        for family in shape.families:
            pieces[family] += by_family
    for family, header in _HEADERS[openmetrics].items():
        if family in pieces:
            yield header
            for texts in pieces[family]:
                yield b"".join(next(texts))


def _by_family(rows: list[tuple[bytes, ...]]) -> list[Iterator[tuple[bytes, ...]]]:
    """Return, for each piece of the rows, what yields its texts of one family after the other."""
    # They lie all over the memory. zip's loop over them is so tight that the processor fetches many
    # at once: a scrape takes a quarter less time than with one by one.
    return [
        zip(*rows[start : start + _TEXTS_IN_PIECE], strict=True)
        for start in range(0, len(rows), _TEXTS_IN_PIECE)
    ]


class Exposition:
    """What ``/metrics`` answers."""

    def __init__(self, board: StatusBoard, internal: Internal, clock: Clock) -> None:
        self._board = board
        self._internal = internal
        self._clock = clock

    def scrape(self, accept: str, sites: Sequence[str] = ()) -> tuple[str, Iterator[bytes]]:
        """
        Return the content type and the pieces of one answer.

        Args:
            accept: The request's Accept header; empty where there is none.
            sites: Only the series of these sites, and none of the daemon's own.

        Raises:
            LookupError: There is no such site; its text is the name.
        """
        content_type, openmetrics = negotiate(accept)
        if sites:
            entries = [self._entry(name) for name in dict.fromkeys(sites)]
            return content_type, _some(entries, openmetrics=openmetrics)
        return content_type, self._everything(openmetrics=openmetrics)

    def _entry(self, name: str) -> Entry:
        entry = self._board.get(name)
        if entry is None:
            raise LookupError(name)
        return entry

    def _everything(self, *, openmetrics: bool) -> Iterator[bytes]:
        started = self._clock.monotonic()
        serieses = (entry.series for entry in self._board.entries())
        yield from expose(serieses, openmetrics=openmetrics)
        yield self._internal.exposition(openmetrics=openmetrics)
        self._internal.scraped(self._clock.monotonic() - started)


def _some(entries: Iterable[Entry], *, openmetrics: bool) -> Iterator[bytes]:
    yield from expose((entry.series for entry in entries), openmetrics=openmetrics)
    if openmetrics:
        yield _END


def probe_exposition(site: Site, result: Result, accept: str) -> tuple[str, bytes]:
    """
    Return the content type and text of ``/probe``: blackbox_exporter's families of one check.

    They carry no labels of the site, because there the scrape configuration names the target.

    Raises:
        ValueError: The monitor could not look or judge, so that there is nothing to show.
    """
    content_type, openmetrics = negotiate(accept)
    lines = _Lines(None)
    _show_result(lines, site, result)
    text = b"".join(expose([lines.series()], openmetrics=openmetrics))
    return content_type, text + _END if openmetrics else text
