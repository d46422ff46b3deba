"""What is shown and kept of replies to echo requests."""

from collections.abc import Iterator
from typing import Any

from monitor.model import IcmpAnswer
from monitor.protocols.facet import Facet, Leaves, Row, Step, no_evidence, unchanged


def _json(answer: IcmpAnswer, _: Leaves) -> dict[str, Any]:
    return {
        "loss": answer.loss,
        "round_trips_seconds": list(answer.round_trips),
        "altered_replies": answer.altered,
        "reply_difference": answer.difference,
    }


def _rows(answer: IcmpAnswer) -> Iterator[Row]:
    yield "packets", f"{answer.received} of {answer.sent} answered"
    yield "times", ", ".join(f"{one * 1000:,.1f} ms" for one in answer.round_trips) or None
    yield "replies", f"{answer.altered} altered: {answer.difference}" if answer.altered else None


def _steps(answer: IcmpAnswer, _: str) -> Iterator[Step]:
    yield "Got replies", {"sent": answer.sent, "received": answer.received}


ICMP = Facet(
    keys=("loss", "round_trips_seconds", "altered_replies", "reply_difference"),
    json=_json,
    rows=_rows,
    steps=_steps,
    kept=unchanged,
    evidence=no_evidence,
)
