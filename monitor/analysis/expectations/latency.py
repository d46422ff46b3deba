"""How long a check and its phases may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.analysis.expectations.words import parsed
from monitor.analysis.rules import mapping
from monitor.analysis.seen import Seen
from monitor.model import ExpectationKind, Phase, Reason, Seconds
from monitor.options import duration, show_duration
from monitor.protocols.table import EVERY, PROTOCOLS

_TOTAL = "total"
_PHASES: Mapping[str, frozenset[str]] = {
    phase: frozenset(one.name for one in PROTOCOLS.values() if phase in one.phases)
    for phase in Phase
}


_LIMIT = duration()


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """The longest allowed time of each phase, or of ``total``, in seconds."""

    limits: tuple[tuple[str, Seconds], ...]


def parse_latency(value: Any) -> LatencyLimits:
    """
    Read a duration for the whole check, or ``{total: …, connect: …}``.

    Raises:
        ValueError: It is anything else, or zero.
    """
    names = (_TOTAL, *_PHASES)
    limits = mapping(value, names) if isinstance(value, Mapping) else {_TOTAL: value}
    parts = tuple((str(name), _LIMIT.parse(limit)) for name, limit in limits.items())
    if any(limit <= 0 for _, limit in parts):
        raise ValueError("latency must be more than 0s")
    return LatencyLimits(parts)


def _check_latency(value: LatencyLimits, seen: Seen) -> str | None:
    for name, limit in value.limits:
        if name == _TOTAL:
            taken, subject = seen.observation.duration, "latency"
        else:
            phase = Phase(name)
            if phase not in seen.observation.phases:
                return f"latency of {name} is not known: there was no such phase"
            taken, subject = seen.observation.phases[phase], f"latency of {name}"
        if not taken <= limit:
            return f"{subject} {show_duration(taken)} is over {show_duration(limit)}"
    return None


def _check_latency_protocol(value: LatencyLimits, protocol: str) -> None:
    for name, _ in value.limits:
        if name != _TOTAL and protocol not in _PHASES[name]:
            phases = [phase for phase, protocols in _PHASES.items() if protocol in protocols]
            raise ValueError(
                f"{protocol} checks have no phase {name}; there are {', '.join(phases)}"
            )


LATENCY = ExpectationKind(
    shape=parsed(
        LatencyLimits,
        parse_latency,
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in (_TOTAL, *_PHASES)},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        },
    ),
    reason=Reason.LATENCY,
    check=_check_latency,
    protocols=EVERY,
    check_protocol=_check_latency_protocol,
    compares=True,
    doc="The longest the whole check may take, or each phase: {total: 1s, connect: 100ms}.",
)
