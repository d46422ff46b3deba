"""What of a finished check is kept and shown: no bodies, no PEM, secrets masked. Pure."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import TypeAlias

from monitor.model import (
    Analysis,
    Answer,
    Bytes,
    Certificate,
    DnsAnswer,
    Failure,
    HttpAnswer,
    Observation,
    Result,
    Seconds,
    Site,
    TcpAnswer,
    Timestamp,
    WebSocketAnswer,
)

_EXCERPT = 1024
_LONGEST_MESSAGE = 1000
_LONGEST_URL = 1000
_MOST_HEADERS = 50
_HEADERS = 4096
_LONGEST_VALUE = 1024
_SHORT_HEADER = 256
_MOST_CERTIFICATES = 10
_NAMES = 8192
_LONGEST_NAME = 512
_MOST_RECORDS = 100
_MOST_CODINGS = 10
_SHORTEST_HALF = 4

AsText: TypeAlias = Callable[[Answer, Bytes], str]
"""Decodes the first so many bytes of what an answer brought; empty where it brings none."""


def judged(site: Site, seen: Observation, analysis: Analysis, as_text: AsText) -> Result:
    """
    Return the result of a check that was judged.

    Results are remembered, so what a server can make long is cut: its own size is bounded by some
    60 KiB, whoever wrote the answer.
    """
    verdict = analysis.verdict
    site = site.with_secrets(seen.secrets)
    return Result(
        site=site.name,
        url=site.target,
        observation=_keep(site, seen),
        analysis=_bounded(site, analysis),
        excerpt=None if verdict.up else _excerpt(site, seen.answer, as_text),
    )


def _bounded(site: Site, analysis: Analysis) -> Analysis:
    verdict = analysis.verdict
    if not (verdict.message or analysis.chain or analysis.client):
        return analysis  # most have nothing that would have to be cut
    return replace(
        analysis,
        verdict=replace(verdict, message=_message(site, verdict.message)),
        chain=_chain(analysis.chain[:_MOST_CERTIFICATES]),
        hop_chains=_leaves(analysis.hop_chains),
        client=next(iter(_chain((analysis.client,) if analysis.client else ())), None),
    )


def unanswered(seen: Observation) -> Failure | None:
    """Return the failure of a check that brought no answer and no certificate to analyse."""
    return seen.failure if seen.answer is None and seen.tls is None else None


def spoilt(site: Site, time: Timestamp, duration: Seconds, error: str) -> Result:
    """Return the result of a check that the monitor itself could not do."""
    return Result(
        site=site.name,
        url=site.target,
        observation=Observation(time=time, duration=duration),
        error=site.redact(error),
    )


def unproven(result: Result) -> Result:
    """Return the result of a check that failed while the monitor's own connection was lost."""
    verdict = result.analysis.verdict if result.analysis else None
    why = f": {verdict.message}" if verdict else ""
    error = f"the monitor's own connection is lost, no connectivity target answers{why}"
    return replace(result, analysis=None, error=error)


def _keep(site: Site, seen: Observation) -> Observation:
    failure = seen.failure
    # Not by replace(), which takes three times as long: this happens for every check
    return Observation(
        time=seen.time,
        duration=seen.duration,
        phases=seen.phases,
        address=seen.address,
        answer=_kept_answer(site, seen.answer),
        tls=seen.tls and replace(seen.tls, chain=(), client=()),
        failure=failure and replace(failure, message=_message(site, failure.message)),
        redirects=seen.redirects,
    )


def _kept_answer(site: Site, answer: Answer | None) -> Answer | None:
    match answer:
        case HttpAnswer():
            return HttpAnswer(
                status=answer.status,
                version=answer.version,
                headers=_shown(site, answer.headers),
                body_size=answer.body_size,
                truncated=answer.truncated,
                content_length=answer.content_length,
                codings=tuple(_cut(one, _LONGEST_NAME) for one in answer.codings[:_MOST_CODINGS]),
                url=_cut(answer.url, _LONGEST_URL),
                redirects=tuple(
                    replace(
                        hop,
                        url=_cut(hop.url, _LONGEST_URL),
                        tls=hop.tls and replace(hop.tls, chain=(), client=()),
                    )
                    for hop in answer.redirects
                ),
            )
        case WebSocketAnswer():
            return replace(answer, received=b"", headers=_shown(site, answer.headers))
        case TcpAnswer():
            captures = tuple(
                (name, _cut(site.redact(text), _LONGEST_VALUE)) for name, text in answer.captures
            )
            return replace(answer, received=b"", captures=captures)
        case DnsAnswer():
            return replace(
                answer,
                answer=_records(site, answer.answer),
                authority=_records(site, answer.authority),
                additional=_records(site, answer.additional),
                nsid=answer.nsid and _cut(site.redact(answer.nsid), _LONGEST_VALUE),
                extended_errors=_records(site, answer.extended_errors),
            )
    return answer


def _message(site: Site, message: str) -> str:
    return _cut(site.redact(message), _LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _shown(site: Site, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    shown: list[tuple[str, str]] = []
    left = _HEADERS
    for header in headers[:_MOST_HEADERS]:
        name, value = header
        if site.secrets:
            header = name, site.redact(value)  # noqa: PLW2901  all that may be shown
        if len(name) + len(value) <= _SHORT_HEADER:
            header = _usual_header(header)  # noqa: PLW2901  as above
        else:
            header = _shown_header(header)  # noqa: PLW2901  as above
        left -= len(header[0]) + len(header[1])
        if left < 0:
            break
        shown.append(header)
    missing = len(headers) - len(shown)
    return (*shown, ("…", f"{missing} more")) if missing else tuple(shown)


def _shown_header(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    if name.lower() == "set-cookie":
        # A session cookie that a check with credentials was given is as good as the credentials
        value = f"{value.partition('=')[0]}=<secret>"
    return _cut(name, _LONGEST_NAME), _cut(value, _LONGEST_VALUE)


_usual_header = lru_cache(maxsize=4096)(_shown_header)
"""One object for what most sites and checks have in common."""


def _chain(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Return certificates, leaf first, whose names have some thousand characters together."""
    left = _NAMES
    kept = []
    for one in chain:
        size = sum(map(len, one.names))
        fits = max(map(len, (one.subject, one.issuer, one.serial))) <= _LONGEST_NAME
        if size <= left and fits:
            kept.append(one)
        else:
            kept.append(
                replace(
                    one,
                    subject=_cut(one.subject, _LONGEST_NAME),
                    issuer=_cut(one.issuer, _LONGEST_NAME),
                    serial=_cut(one.serial, _LONGEST_NAME),
                    names=_few_names(one.names, left),
                )
            )
        left = max(0, left - size)
    return tuple(kept)


def _leaves(chains: tuple[tuple[Certificate, ...], ...]) -> tuple[tuple[Certificate, ...], ...]:
    """Return chains cut down to their leaves, which are shown of redirects."""
    leaves = iter(_chain(tuple(chain[0] for chain in chains if chain)))
    return tuple((next(leaves),) if chain else () for chain in chains)


def _few_names(names: tuple[str, ...], left: int) -> tuple[str, ...]:
    sizes = accumulate(map(len, names))
    fitting = sum(1 for size in sizes if size <= left)
    missing = len(names) - fitting
    return (*names[:fitting], f"… and {missing} more") if missing else names


def _records(site: Site, records: tuple[str, ...]) -> tuple[str, ...]:
    # What is not kept leaves its place: how many there were is shown, too
    kept = [_cut(site.redact(record), _LONGEST_NAME) for record in records[:_MOST_RECORDS]]
    return (*kept, *("…",) * (len(records) - len(kept)))


def _excerpt(site: Site, answer: Answer | None, as_text: AsText) -> str | None:
    if answer is None:
        return None
    # Masked before it is cut, so that no half of a secret stays at the end; the probe may have cut
    # it at either end before
    text = site.redact(as_text(answer, 4 * _EXCERPT))
    for secret in site.secrets:
        text = _without_halves(text, secret)
    return text[:_EXCERPT] or None


def _without_halves(text: str, secret: str) -> str:
    for length in range(min(len(secret), len(text)), _SHORTEST_HALF - 1, -1):
        text = text.removesuffix(secret[:length]).removeprefix(secret[-length:])
    return text
