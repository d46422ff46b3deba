"""The status of an answer: an HTTP code or a serving status of gRPC."""

import re
from dataclasses import dataclass
from typing import Any

from monitor.analysis.expectations.words import parsed
from monitor.analysis.rules import each, one_or_list
from monitor.analysis.seen import Seen
from monitor.model import ExpectationKind, Reason
from monitor.protocols.table import only

_SERVING = ("SERVING", "NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN")
_CLASS = re.compile(r"([1-9])[xX]{2}")
_CODES = re.compile(r"([1-9]\d\d)(?:-([1-9]\d\d))?")


@dataclass(frozen=True, slots=True)
class StatusRule:
    """
    Which statuses are good.

    Attributes:
        text: As it was written, for messages: ``2xx, 304``.
        ranges: First and last of each run of HTTP status codes.
        names: Serving statuses of gRPC's health service.
    """

    text: str
    ranges: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()


def parse_status(value: Any) -> StatusRule:
    """
    Read ``204``, ``2xx``, ``200-299``, ``SERVING``, or a list of such.

    Raises:
        ValueError: It is anything else.
    """
    ranges: list[tuple[int, int]] = []
    names: list[str] = []
    for one in each(value):
        text = "" if isinstance(one, bool) else str(one)
        if match := _CLASS.fullmatch(text):
            ranges.append((int(match[1]) * 100, int(match[1]) * 100 + 99))
        elif match := _CODES.fullmatch(text):
            first, last = int(match[1]), int(match[2] or match[1])
            if first > last:
                raise ValueError(f"{text} is empty; the smaller number comes first")
            ranges.append((first, last))
        elif text in _SERVING:
            names.append(text)
        else:
            raise ValueError(f"{one!r} is not a status such as 204, 2xx, 200-299 or SERVING (gRPC)")
    return StatusRule(", ".join(map(str, each(value))), tuple(ranges), tuple(names))


def _check_status(rule: StatusRule, seen: Seen) -> str | None:
    status = seen.status
    if isinstance(status, str):
        return None if status in rule.names else f"status {status} is not {rule.text}"
    if any(first <= status <= last for first, last in rule.ranges):
        return None
    one = len(rule.ranges) == 1 and rule.ranges[0][0] == rule.ranges[0][1]
    return f"status {status} is not {'' if one else 'in '}{rule.text}"


def _check_status_protocol(rule: StatusRule, protocol: str) -> None:
    if protocol == "grpc" and rule.ranges:
        raise ValueError(f"grpc checks have no HTTP status; there are {', '.join(_SERVING)}")
    if protocol != "grpc" and rule.names:
        raise ValueError(f"{protocol} checks have no {rule.names[0]}; write codes such as 2xx")


STATUS = ExpectationKind(
    shape=parsed(
        StatusRule,
        parse_status,
        one_or_list(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 100, "maximum": 999},
                    {
                        "type": "string",
                        "pattern": r"^([1-9][xX]{2}|[1-9]\d\d(-[1-9]\d\d)?)$",
                    },
                    {"enum": list(_SERVING)},
                ]
            }
        ),
    ),
    reason=Reason.STATUS,
    check=_check_status,
    protocols=only("http", "ws", "grpc"),
    defaults={
        "http": parse_status("2xx"),
        "ws": parse_status(101),
        "grpc": parse_status("SERVING"),
    },
    check_protocol=_check_status_protocol,
    compares=True,
    doc="Good status codes: 204, 2xx, 200-299 or a list; for gRPC serving statuses.",
)
