"""Reports of places, as simple as possible."""

from typing import Any

from monitor.model import Reason, Status
from monitor.places import Abstention, Ballot, Report, Sender

NOW = 1_800_000_000.0


def report(status: str = "up", time: float = NOW, site: str = "shop", **values) -> Report:
    """Return a report: up, down, error, connection, or unknown if nothing is settled yet."""
    up = {"up": True, "unknown": True, "down": False}.get(status)
    settled = status if status in set(Status) else "up"
    known: dict[str, Any] = {
        "reason": Reason.STATUS if up is False else None,
        "message": "" if up else "status 503 is not in 2xx",
        "trouble": Abstention(status) if up is None else None,
        "first": time if up is False else None,
        "since": time,
        "duration": 0.05,
    }
    return Report(site=site, time=time, up=up, status=Status(settled), **(known | values))


def ballot(status: str = "up", time: float = NOW, location: str = "fra", **values) -> Ballot:
    said = report(status, time, **values)
    return Ballot(
        sender=Sender(location),
        time=said.time,
        status=said.status,
        since=said.since,
        first=said.first,
        reason=said.reason,
        message=said.message,
        trouble=said.trouble,
    )
