"""What is shown and kept of a dialogue over TCP or TLS."""

from typing import Any

from monitor.model import Site, TcpAnswer
from monitor.protocols.facet import LONGEST_VALUE, Evidence, Facet, Leaves, Row, cut, no_steps
from monitor.records import replace


def _json(answer: TcpAnswer, _: Leaves) -> dict[str, Any]:
    return {"captures": dict(answer.captures)}


def _rows(answer: TcpAnswer) -> tuple[Row, ...]:
    return answer.captures


def _kept(answer: TcpAnswer, site: Site) -> TcpAnswer:
    captures = tuple(
        (name, cut(site.redact(text), LONGEST_VALUE)) for name, text in answer.captures
    )
    return replace(answer, received=b"", captures=captures)


def _evidence(answer: TcpAnswer) -> Evidence:
    return answer.received, None


TCP = Facet(
    keys=("captures",), json=_json, rows=_rows, steps=no_steps, kept=_kept, evidence=_evidence
)
