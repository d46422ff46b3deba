"""Reads Uptime Kuma's history: heartbeats, and counts per hour and day."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from monitor.importers.kuma.database import Database, number, opened
from monitor.importers.kuma.listing import sites_of
from monitor.importers.past import Beat, inherited
from monitor.model import Site
from monitor.past import Condition, Counted, Inherited
from monitor.units import Seconds, Timestamp

_DOWN, _UP, _PENDING, _MAINTENANCE = range(4)
_CONDITIONS = {
    _DOWN: Condition.DOWN,
    _UP: Condition.UP,
    _PENDING: None,
    _MAINTENANCE: Condition.MAINTENANCE,
}
_TABLES: Mapping[str, Seconds] = {"stat_hourly": 3600.0, "stat_daily": 86400.0}


def past(source: str, sites: Mapping[str, Site]) -> dict[str, Inherited]:
    """
    Return what a database knows of sites, by their names.

    Raises:
        ConfigError: It cannot be read.
    """
    with opened(source) as database:
        return {
            name: inherited(
                name,
                sites[name].group,
                _beats(database, monitor),
                _counts(database, monitor),
                sites[name].interval,
                "Uptime Kuma",
            )
            for name, monitor in sites_of(database).items()
            if name in sites
        }


def last_verdicts(source: str) -> dict[str, tuple[bool, Timestamp]]:
    """
    Return what was said last of each monitor, and when, by our name for it.

    Raises:
        ConfigError: The database cannot be read.
    """
    found = {}
    with opened(source) as database:
        for name, monitor in sites_of(database).items():
            question = (
                "SELECT status, time FROM heartbeat"  # noqa: S608  a number
                f" WHERE monitor_id = {monitor} AND status IN (0, 1, 2) ORDER BY time DESC LIMIT 1"
            )
            for row in database.each(question, missing=True):
                if (time := _moment(row["time"])) is not None:
                    found[name] = (number(row, "status") == _UP, time)
    return found


def _beats(database: Database, monitor: int) -> list[Beat]:
    question = (
        "SELECT status, time, ping, msg FROM heartbeat"  # noqa: S608  a number
        f" WHERE monitor_id = {monitor} ORDER BY time"
    )
    found = []
    for row in database.each(question):
        time, status = _moment(row["time"]), number(row, "status")
        if time is None or status not in _CONDITIONS:
            continue  # not written by Uptime Kuma
        up = None if status == _MAINTENANCE else status == _UP
        said = str(row["msg"] or "")
        found.append(Beat(time, _CONDITIONS[status], up, _seconds(row["ping"]), said))
    return found


def _counts(database: Database, monitor: int) -> list[Counted]:
    found = []
    for table, length in _TABLES.items():
        question = f"SELECT * FROM {table} WHERE monitor_id = {monitor} ORDER BY timestamp"  # noqa: S608  our words
        for row in database.each(question, missing=True):
            if (begin := number(row, "timestamp")) is None:
                continue
            mean, least, most = (_seconds(row.get(key)) for key in ("ping", "ping_min", "ping_max"))
            found.append(
                Counted(
                    begin=float(begin),
                    length=length,
                    up=number(row, "up") or 0,
                    down=number(row, "down") or 0,
                    mean=mean,
                    least=least,
                    most=most,
                )
            )
    return found


def _seconds(milliseconds: Any) -> Seconds:
    try:
        return float(milliseconds or 0) / 1000
    except ValueError:
        return 0.0


def _moment(value: Any) -> Timestamp | None:
    """Return a moment, which the database stores in UTC without saying so; None if invalid."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
