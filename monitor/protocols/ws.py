"""What is shown and kept of the answer to a WebSocket's upgrade."""

from collections.abc import Iterator
from typing import Any

from monitor.model import Site, WebSocketAnswer
from monitor.protocols.facet import (
    Evidence,
    Facet,
    Leaves,
    Row,
    Step,
    kept_headers,
    readable_headers,
)
from monitor.records import replace


def _json(answer: WebSocketAnswer, _: Leaves) -> dict[str, Any]:
    headers = [list(header) for header in readable_headers(answer.headers)]
    return {"status": answer.status, "headers": headers}


def _rows(answer: WebSocketAnswer) -> Iterator[Row]:
    yield "status", str(answer.status)
    yield from readable_headers(answer.headers)


def _steps(answer: WebSocketAnswer, _: str) -> Iterator[Step]:
    yield "Received HTTP response", {"status_code": answer.status}


def _kept(answer: WebSocketAnswer, site: Site) -> WebSocketAnswer:
    return replace(answer, received=b"", headers=kept_headers(site, answer.headers))


def _evidence(answer: WebSocketAnswer) -> Evidence:
    return answer.received, None


WEBSOCKET = Facet(
    keys=("status", "headers"), json=_json, rows=_rows, steps=_steps, kept=_kept, evidence=_evidence
)
