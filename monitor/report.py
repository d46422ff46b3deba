"""
The only JSON form of results and sites, for ``--json`` and the API; absent is null, never 0.

Tables also have a single CSV form. Moments are ISO 8601 in UTC, durations are in seconds.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from monitor.model import (
    Analysis,
    Certificate,
    Result,
    SiteState,
    Vote,
)
from monitor.notify import ChannelState
from monitor.protocols.facets import FACETS, facet_of
from monitor.units import Timestamp


def moment(time: Timestamp) -> str:
    """Return ``2026-11-22T11:20:01.123Z``."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


_COMPUTED = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    Yield a table as CSV (RFC 4180), with a header line; None and missing values are empty.

    A text that a spreadsheet would treat as a formula gets a leading apostrophe (OWASP, "CSV
    Injection"), because names and messages may come from elsewhere.
    """
    line = io.StringIO()
    writer = csv.writer(line)

    def cells() -> Iterator[Sequence[Any]]:
        yield columns
        for row in rows:
            yield [row.get(one) for one in columns]

    for row in cells():
        line.seek(0)
        line.truncate()
        writer.writerow(map(_cell, row))
        yield line.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_COMPUTED) else value


def result_json(result: Result) -> dict[str, Any]:
    """Return one finished check; every key is always present."""
    seen = result.observation
    analysis = result.analysis
    verdict = analysis.verdict if analysis else None
    chain = [certificate_json(one) for one in analysis.chain] if analysis else []
    return {
        "site": result.site,
        "url": result.url,
        "up": result.up,
        "reason": verdict.reason if verdict else None,
        "message": (verdict.message or None) if verdict else result.error,
        "time": moment(seen.time),
        "duration_seconds": seen.duration,
        "phases": {str(phase): seconds for phase, seconds in seen.phases.items()},
        "address": seen.address,
        **_answer_json(result),
        "tls_version": seen.tls.version if seen.tls else None,
        "tls_cipher": seen.tls.cipher if seen.tls else None,
        "tls_legacy": seen.tls.legacy if seen.tls else None,
        "certificate": {**chain[0], "verified": seen.tls.verified} if chain and seen.tls else None,
        "chain": chain[1:] or None,
        "client_certificate": certificate_json(analysis.client)
        if analysis and analysis.client
        else None,
        **_readings_json(analysis),
        "excerpt": result.excerpt,
    }


def _readings_json(analysis: Analysis | None) -> dict[str, Any]:
    extracted = analysis.extracted if analysis else ()
    content = analysis.content if analysis else None
    return {
        "extracted": {one.name: one.value for one in extracted} or None,
        "not_extracted": {one.name: one.why for one in extracted if one.value is None} or None,
        "content_sha256": content.sha256 if content else None,
        "content_missing": (content.why or None) if content else None,
    }


_ANSWER_KEYS = tuple(dict.fromkeys(key for facet in FACETS for key in facet.keys))


def _answer_json(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(_ANSWER_KEYS)
    answer = result.observation.answer
    if answer is not None:
        chains = result.analysis.hop_chains if result.analysis else ()
        leaves = [certificate_json(chain[0]) if chain else None for chain in chains]
        found |= facet_of(answer).json(answer, leaves)
    return found


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "serial": certificate.serial,
        "not_before": moment(certificate.not_before),
        "not_after": moment(certificate.not_after),
        "fingerprint_sha256": certificate.fingerprint,
    }


def vote_json(vote: Vote) -> dict[str, Any]:
    """Return what one place says about a site, and whether that counts."""
    return {
        "location": vote.location,
        "state": vote.state,
        "since": moment(vote.since),
        "reason": vote.reason,
        "message": vote.message or None,
        "counted": vote.counted,
        "why_not": vote.why_not or None,
    }


def site_json(state: SiteState) -> dict[str, Any]:
    """Return one row of ``/api/v1/sites``."""
    site = state.site
    return {
        "name": site.name,
        "url": site.target,
        "group": site.group or None,
        "labels": dict(site.labels),
        "state": state.shown,
        "since": moment(state.since),
        "flapping": state.flapping,
        "because": state.because or None,
        "interval_seconds": site.interval,
        "last": result_json(state.last) if state.last else None,
    }


def site_detail_json(state: SiteState) -> dict[str, Any]:
    """Return ``/api/v1/sites/NAME``: the row, and remembered checks, newest first."""
    return {
        **site_json(state),
        "timeout_seconds": state.site.timeout,
        "confirmed_state": state.status,
        "depends_on": list(state.site.depends_on),
        "streak": state.streak,
        "content_sha256": state.content,
        "content_changed": None if state.content_changed is None else moment(state.content_changed),
        "checks": state.counters.checks,
        "check_failures": {str(key): count for key, count in state.counters.failures.items()},
        "check_errors": state.counters.errors,
        "checks_skipped": dict(state.counters.skipped),
        "split": state.joint.split if state.joint else None,
        "votes": [vote_json(one) for one in state.joint.votes] if state.joint else None,
        "recent": [
            {
                "time": moment(one.time),
                "up": one.up,
                "duration_seconds": one.duration,
                "reason": one.reason,
            }
            for one in state.recent
        ],
        "failures": [result_json(one) for one in state.failures],
    }


def channel_json(state: ChannelState, now: Timestamp) -> dict[str, Any]:
    """Return one row of ``/api/v1/receivers``."""

    def maybe(time: Timestamp | None) -> str | None:
        return None if time is None else moment(time)

    return {
        "name": state.channel,
        "receiver": state.receiver,
        "kind": state.kind,
        "waiting": state.waiting,
        "oldest": maybe(state.oldest),
        "oldest_seconds": None if state.oldest is None else max(0.0, now - state.oldest),
        "failing_since": maybe(state.failing_since),
        "next_attempt": maybe(state.next_try),
        "last_attempt": maybe(state.answered),
        "last_delivered": state.delivered,
        "last_answer": state.answer or None,
    }
