"""
``/probe?target=``: the request, the answer, and the report for ``debug=true``.

The contract is blackbox_exporter's: the status is 200 even if the probe fails, and a failure is
``probe_success 0``. If no probe can be made, the answer is another status and a sentence.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from monitor.model import (
    Phase,
    Reason,
    Result,
    Seconds,
    Site,
)
from monitor.protocols.facets import facet_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeQuery:
    """
    The parameters of a request; None stands for a missing one.

    Attributes:
        hostname: The name to send in Host and TLS, whatever the target is.
        scrape_timeout: The text of Prometheus' header.
    """

    target: str | None = None
    module: str | None = None
    hostname: str | None = None
    scrape_timeout: str | None = None


class Refused(Exception):  # noqa: N818  an answer, not an accident
    """No probe is made; carries the answer to send."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCheck:
    """
    A running check.

    Attributes:
        module_text: The module as YAML, without secrets.
        reply: Receives the result; it is cancelled if the monitor stops first.
        patience: How long to wait for it: the check's timeout plus the time before and after.
    """

    site: Site
    module: str
    module_text: str
    reply: "Future[Result]"
    patience: Seconds


class Live(Protocol):
    """Makes checks for ``/probe``; neither method waits."""

    def start(self, query: ProbeQuery) -> LiveCheck:
        """Begin a check; raises Refused."""

    def expose(self, site: Site, result: Result, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text of a result's series."""


# ---------------------------------------------------------------- debug=true


def debug_text(check: LiveCheck, result: Result, series: bytes) -> bytes:
    """Return the report in three blocks; people and scripts recognise them by their headings."""
    logs = "".join(f"{line}\n" for line in _log_lines(check, result))
    return b"".join(
        (
            f"Logs for the probe:\n{logs}".encode(errors="replace"),
            b"\n\n\nMetrics that would have been returned:\n",
            series,
            f"\n\n\nModule configuration:\n{check.module_text}\n".encode(errors="replace"),
        )
    )


def _log_lines(check: LiveCheck, result: Result) -> Iterator[str]:
    """Yield the steps of the check with blackbox_exporter's messages for them."""
    seen = result.observation
    failure = seen.failure
    moment = datetime.fromtimestamp(seen.time, UTC).isoformat(timespec="milliseconds")
    head = f"time={moment} module={check.module} target={_quoted(check.site.target)}"

    def line(message: str, *, level: str = "info", **fields: Any) -> str:
        pairs = "".join(f" {key}={_quoted(str(value))}" for key, value in fields.items())
        return f'{head} level={level} msg="{message}"{pairs}'

    yield line("Beginning probe", probe=check.site.scheme, timeout_seconds=check.site.timeout)
    yield line("Resolving target address")
    if seen.address:
        yield line("Resolved target address", ip=seen.address)
    if seen.answer is not None:
        for step, fields in facet_of(seen.answer).steps(seen.answer, check.site.target):
            yield line(step, **fields)
    if seen.phases:
        yield line("Response timings for roundtrip", **_timings(seen.phases))
    if result.up:
        yield line("Probe succeeded", duration_seconds=seen.duration)
        return
    verdict = result.analysis.verdict if result.analysis else None
    reason = verdict.reason if verdict else None
    message = verdict.message if verdict else result.error
    if reason is Reason.STATUS and failure is None:
        yield line("Invalid HTTP response status code", level="error", detail=message)
    yield line(
        "Probe failed",
        level="error",
        duration_seconds=seen.duration,
        reason=reason or "error",
        detail=message,
    )


def _timings(phases: Any) -> dict[str, str]:
    return {str(Phase(phase)): f"{seconds:.6f}" for phase, seconds in phases.items()}


def _quoted(text: str) -> str:
    if text and text.isprintable() and not set(text) & {" ", '"', "="}:
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return '"' + shown.replace('"', "'") + '"'
