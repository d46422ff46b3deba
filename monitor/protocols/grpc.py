"""What is shown and kept of the answer of gRPC's health service."""

from collections.abc import Iterator
from typing import Any

from monitor.model import GrpcAnswer
from monitor.protocols.facet import Facet, Leaves, Row, Step, no_evidence, unchanged


def _json(answer: GrpcAnswer, _: Leaves) -> dict[str, Any]:
    return {"grpc_status_code": answer.status_code, "serving_status": answer.serving_status}


def _rows(answer: GrpcAnswer) -> Iterator[Row]:
    yield "gRPC", f"status {answer.status_code}, {answer.serving_status or '-'}"


def _steps(answer: GrpcAnswer, _: str) -> Iterator[Step]:
    yield "Got health status", {"status": answer.serving_status}


GRPC = Facet(
    keys=("grpc_status_code", "serving_status"),
    json=_json,
    rows=_rows,
    steps=_steps,
    kept=unchanged,
    evidence=no_evidence,
)
