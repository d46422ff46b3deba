"""
The messages between places and hub, as JSON that is checked. Pure.

Every message has the version that wrote it, ``v``, and the oldest that can read it, ``min``. A
reader accepts a message whose ``min`` is not above its own version and skips unknown fields and
columns, so versions N and N-1 understand each other in both directions as long as N only adds.
Anything else raises WireError; the receiver counts it and skips it.

A report is an array, because there are many:

    [site, time, duration, up, reason, message, trouble, status, since, first]

Times are whole milliseconds since 1970, durations whole microseconds. The location is never in a
message: it is read from the subject, which the server's permissions guard.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monitor.model import Reason, Status
from monitor.places import Abstention, Report, ReportBatch, Sender, SignOfLife
from monitor.units import Timestamp

VERSION = 1
_READABLE_FROM = 1
"""The oldest version that can read what this version writes."""

LONGEST_MESSAGE = 300
"""Characters of a failure's message that are sent: 400 reports stay far below NATS' 1 MiB."""
_COLUMNS = 10
_MOST_REPORTS = 10_000
_MOST_SITES = 10_000
_LONGEST_NAME = 4096
_REASONS: Mapping[str, Reason] = {str(one): one for one in Reason}
_STATUSES: Mapping[str, Status] = {
    str(one): one for one in (Status.UNKNOWN, Status.UP, Status.DOWN)
}
_TROUBLES: Mapping[str, Abstention] = {str(one): one for one in Abstention}
_encoded = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class WireError(ValueError):
    """A message that cannot be understood; the text says why."""


# ---------------------------------------------------------------- reports


def pack_report(report: Report) -> str:
    """Return one report as JSON."""
    return _encoded(
        [
            report.site,
            _milliseconds(report.time),
            round(report.duration * 1e6),
            report.up,
            report.reason,
            report.message[:LONGEST_MESSAGE],
            report.trouble,
            report.status,
            _milliseconds(report.since),
            None if report.first is None else _milliseconds(report.first),
        ]
    )


def _milliseconds(time: Timestamp) -> int:
    """Return a moment as places and hub remember it: truncated, and unchanged if done again."""
    return math.floor(time * 1000 + 0.001)


def pack_reports(reports: Iterable[str]) -> str:
    """Return packed reports as the list that a message carries."""
    return f"[{','.join(reports)}]"


def pack_batch(part: str, number: str, sent: Timestamp, reports: str) -> bytes:
    """Return the message that carries a list of packed reports; *number* is its ``id``."""
    head = _encoded(
        {"v": VERSION, "min": _READABLE_FROM, "part": part, "id": number, "sent": round(sent, 3)}
    )
    return f'{head[:-1]},"reports":{reports}}}'.encode()


def unpack_batch(data: bytes, location: str, stored: Timestamp) -> ReportBatch:
    """
    Return the content of a message.

    Raises:
        WireError: It cannot be understood.
    """
    message = _message(data)
    rows = message.get("reports")
    if not isinstance(rows, list) or len(rows) > _MOST_REPORTS:
        raise WireError("has no list of reports")
    return ReportBatch(
        sender=Sender(location, _text(message.get("part"), "part", 40)),
        id=_text(message.get("id"), "id", 100),
        sent=_number(message.get("sent"), "sent"),
        stored=stored,
        reports=tuple(map(_report, rows)),
    )


def _report(row: Any) -> Report:
    if not isinstance(row, list) or len(row) < _COLUMNS:
        raise WireError("a report is not a list of ten columns")
    site, time, duration, up, reason, message, trouble, status, since, first = row[:_COLUMNS]
    if up is not None and not isinstance(up, bool):
        raise WireError("up is neither true, false nor null")
    settled = _STATUSES.get(status) if isinstance(status, str) else None
    if settled is None:
        raise WireError("status is not one of those that are known")
    if trouble is not None and not isinstance(trouble, str):
        raise WireError("trouble is not a text")
    if reason is not None and not isinstance(reason, str):
        raise WireError("reason is not a text")
    kind = None
    if trouble is not None:
        # A kind that only a later version knows still means no vote
        kind = _TROUBLES.get(trouble, Abstention.ERROR)
    elif up is None:
        kind = Abstention.ERROR
    return Report(
        site=_text(site, "site", _LONGEST_NAME),
        time=_number(time, "time") / 1000,
        duration=_number(duration, "duration") / 1e6,
        up=up,
        reason=_REASONS.get(reason) if reason is not None else None,
        message=_text(message, "message", LONGEST_MESSAGE),
        trouble=kind,
        status=settled,
        since=_number(since, "since") / 1000,
        first=None if first is None else _number(first, "first") / 1000,
    )


# ---------------------------------------------------------------- beats and questions


def pack_beat(beat: SignOfLife) -> bytes:
    return _encoded(
        {
            "v": VERSION,
            "min": _READABLE_FROM,
            "part": beat.sender.part,
            "sent": round(beat.sent, 3),
            "version": beat.version,
            "list": beat.fingerprint,
            "sites": beat.sites,
            "waiting": beat.waiting,
            "dropped": beat.dropped,
        }
    ).encode()


def unpack_beat(data: bytes, location: str) -> SignOfLife:
    """
    Return what a daemon reports about itself.

    Raises:
        WireError: The message cannot be understood.
    """
    message = _message(data)
    return SignOfLife(
        sender=Sender(location, _text(message.get("part"), "part", 40)),
        sent=_number(message.get("sent"), "sent"),
        version=_text(message.get("version"), "version", 100),
        fingerprint=_text(message.get("list"), "list", 100),
        sites=int(_number(message.get("sites", 0), "sites")),
        waiting=int(_number(message.get("waiting", 0), "waiting")),
        dropped=int(_number(message.get("dropped", 0), "dropped")),
    )


def pack_question(sites: Sequence[str]) -> bytes:
    """Return the message that asks other places to check sites now."""
    return _encoded({"v": VERSION, "min": _READABLE_FROM, "sites": list(sites)}).encode()


def unpack_question(data: bytes) -> tuple[str, ...]:
    """
    Return the sites that another place asks about.

    Raises:
        WireError: The message cannot be understood.
    """
    sites = _message(data).get("sites")
    if not isinstance(sites, list) or len(sites) > _MOST_SITES:
        raise WireError("has no list of sites")
    return tuple(_text(one, "site", _LONGEST_NAME) for one in sites)


# ---------------------------------------------------------------- the checks


def _message(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError("is not JSON") from error
    if not isinstance(message, dict):
        raise WireError("is not a JSON object")
    least = message.get("min")
    if not isinstance(least, int) or isinstance(least, bool):
        raise WireError("does not say which version can read it")
    if least > VERSION:
        raise WireError(f"needs a hub that understands version {least}; this one has {VERSION}")
    return message


def _text(value: Any, name: str, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise WireError(f"{name} is not a text of at most {longest} characters")
    return value


_MOST = 1e15


def _number(value: Any, name: str) -> float:
    # A larger number is not a moment; NaN and the infinities are not within the limits either
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise WireError(f"{name} is not a number from 0 to {_MOST:.0e}")
    return value
