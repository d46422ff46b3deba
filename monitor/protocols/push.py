"""What is shown and kept of the calls of a site that reports itself."""

from collections.abc import Iterator
from typing import Any

from monitor.model import PushAnswer, Site
from monitor.protocols.facet import LONGEST_VALUE, Evidence, Facet, Leaves, Row, cut, no_steps
from monitor.records import replace


def _json(answer: PushAnswer, _: Leaves) -> dict[str, Any]:
    return {
        "call_message": answer.message or None,
        "exit_status": answer.exit_status,
    }


def _rows(answer: PushAnswer) -> Iterator[Row]:
    yield "said", answer.message or None
    yield "exit status", None if answer.exit_status is None else str(answer.exit_status)


def _kept(answer: PushAnswer, site: Site) -> PushAnswer:
    return replace(answer, body=b"", message=cut(site.redact(answer.message), LONGEST_VALUE))


def _evidence(answer: PushAnswer) -> Evidence:
    return answer.body, None


PUSH = Facet(
    keys=("call_message", "exit_status"),
    json=_json,
    rows=_rows,
    steps=no_steps,
    kept=_kept,
    evidence=_evidence,
)
