"""The part of a finished check that is kept and shown: no bodies or PEM, secrets masked. Pure."""

from collections.abc import Callable
from itertools import accumulate
from typing import TypeAlias

from monitor.model import (
    Analysis,
    Answer,
    Bytes,
    Certificate,
    Failure,
    Observation,
    Result,
    Seconds,
    Site,
    Timestamp,
)
from monitor.protocols.facet import LONGEST_NAME, cut
from monitor.protocols.facets import facet_of
from monitor.records import replace

_EXCERPT = 1024
_LONGEST_MESSAGE = 1000
_MOST_CERTIFICATES = 10
_NAMES = 8192
_SHORTEST_HALF = 4

OWN_CONNECTION = "the monitor's own connection is lost"
"""The beginning of the error of a check that proves nothing for this reason."""

AsText: TypeAlias = Callable[[Answer, Bytes], str]
"""Decodes the given number of bytes of an answer's content; empty if it has no content."""


def judged(
    site: Site, seen: Observation, analysis: Analysis, as_text: AsText, *, kept: bool = False
) -> Result:
    """
    Return the result of a check that was judged.

    Results are remembered, so the parts that a server can make long are truncated: whatever the
    answer was, a result takes at most about 60 KiB.

    Args:
        kept: Whether the analysis is from an earlier result, which truncated it.
    """
    verdict = analysis.verdict
    site = site.with_secrets(seen.secrets)
    return Result(
        site=site.name,
        url=site.target,
        observation=_keep(site, seen),
        analysis=analysis if kept else _bounded(site, analysis),
        excerpt=None if verdict.up else _excerpt(site, seen.answer, as_text),
    )


def _bounded(site: Site, analysis: Analysis) -> Analysis:
    verdict = analysis.verdict
    if not (verdict.message or analysis.chain or analysis.client):
        return analysis  # most have nothing to truncate
    bounded = replace(
        analysis,
        verdict=replace(verdict, message=_message(site, verdict.message)),
        chain=_chain(analysis.chain[:_MOST_CERTIFICATES]),
        hop_chains=_leaves(analysis.hop_chains),
        client=next(iter(_chain((analysis.client,) if analysis.client else ())), None),
    )
    # Most need no cut, and checks whose certificates are as before have one analysis together
    return analysis if bounded == analysis else bounded


def unanswered(seen: Observation) -> Failure | None:
    """Return the failure of a check with no answer and no certificate to analyse."""
    return seen.failure if seen.answer is None and seen.tls is None else None


def spoilt(site: Site, time: Timestamp, duration: Seconds, error: str) -> Result:
    """Return the result of a check that the monitor itself could not carry out."""
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
    error = f"{OWN_CONNECTION}, no connectivity target answers{why}"
    return replace(result, analysis=None, error=error)


def _keep(site: Site, seen: Observation) -> Observation:
    failure = seen.failure
    return replace(
        seen,
        answer=seen.answer and facet_of(seen.answer).kept(seen.answer, site),
        tls=seen.tls and replace(seen.tls, chain=(), client=()),
        failure=failure and replace(failure, message=_message(site, failure.message)),
        secrets=(),
    )


def _message(site: Site, message: str) -> str:
    return cut(site.redact(message), _LONGEST_MESSAGE)


def _chain(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Return certificates, leaf first, with some thousand characters of names in total."""
    left = _NAMES
    kept = []
    for one in chain:
        size = sum(map(len, one.names))
        fits = max(map(len, (one.subject, one.issuer, one.serial))) <= LONGEST_NAME
        if size <= left and fits:
            kept.append(one)
        else:
            kept.append(
                replace(
                    one,
                    subject=cut(one.subject, LONGEST_NAME),
                    issuer=cut(one.issuer, LONGEST_NAME),
                    serial=cut(one.serial, LONGEST_NAME),
                    names=_few_names(one.names, left),
                )
            )
        left = max(0, left - size)
    return tuple(kept)


def _leaves(chains: tuple[tuple[Certificate, ...], ...]) -> tuple[tuple[Certificate, ...], ...]:
    """Return only the leaf of each chain, which is what is shown for redirects."""
    leaves = iter(_chain(tuple(chain[0] for chain in chains if chain)))
    return tuple((next(leaves),) if chain else () for chain in chains)


def _few_names(names: tuple[str, ...], left: int) -> tuple[str, ...]:
    sizes = accumulate(map(len, names))
    fitting = sum(1 for size in sizes if size <= left)
    missing = len(names) - fitting
    return (*names[:fitting], f"… and {missing} more") if missing else names


def _excerpt(site: Site, answer: Answer | None, as_text: AsText) -> str | None:
    if answer is None:
        return None
    # Masked before it is cut, so that no part of a secret remains at the end; the probe may already
    # have cut it at either end
    text = site.redact(as_text(answer, 4 * _EXCERPT))
    for secret in site.secrets:
        text = _without_halves(text, secret)
    return text[:_EXCERPT] or None


def _without_halves(text: str, secret: str) -> str:
    for length in range(min(len(secret), len(text)), _SHORTEST_HALF - 1, -1):
        text = text.removesuffix(secret[:length]).removeprefix(secret[-length:])
    return text
