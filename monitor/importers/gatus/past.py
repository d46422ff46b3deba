"""Reads Gatus' history: results, transitions and hourly counts, in SQLite or PostgreSQL."""

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from monitor.errors import ConfigError, MonitorError, Problem
from monitor.importers.past import Beat, inherited
from monitor.importers.sqlite import connect, explained
from monitor.model import Site
from monitor.past import Condition, Counted, Inherited
from monitor.secrecy import hide_credentials
from monitor.units import Timestamp

_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?")
_TURNS = {"HEALTHY": Condition.UP, "UNHEALTHY": Condition.DOWN}
_HOUR = 3600.0
_NANOSECOND = 1e-9

_Ask = Callable[[str], Iterator[tuple[Any, ...]]]


def past(store: str, items: Mapping[str, str], sites: Mapping[str, Site]) -> dict[str, Inherited]:
    """
    Return what a store knows of sites, by their names.

    Args:
        store: The path of an SQLite file, or the URL of a PostgreSQL database.
        items: ``GROUP/NAME`` of each site's endpoint, by the site's name.

    Raises:
        ConfigError: It cannot be read.
    """
    with _opened(store) as ask:
        numbers = _numbers(ask)
        return {
            name: _of_endpoint(ask, numbers[item], sites[name])
            for name, item in items.items()
            if name in sites and item in numbers
        }


def last_verdicts(store: str, items: Mapping[str, str]) -> dict[str, tuple[bool, Timestamp]]:
    """
    Return what was said last of each endpoint, and when, by our name for it.

    Raises:
        ConfigError: The store cannot be read.
    """
    found = {}
    with _opened(store) as ask:
        numbers = _numbers(ask)
        for name, item in items.items():
            for success, at in ask(
                "SELECT success, timestamp FROM endpoint_results"  # noqa: S608  a number
                f" WHERE endpoint_id = {numbers.get(item, 0)}"
                " ORDER BY endpoint_result_id DESC LIMIT 1"
            ):
                found[name] = (bool(success), _moment(at))
    return found


def endpoints(store: str) -> dict[str, str]:
    """Return each endpoint of a store by the name that a site has here, if no other has it."""
    with _opened(store) as ask:
        items = list(_numbers(ask))
    names = [item.rpartition("/")[2] for item in items]
    found = {}
    for item, name in zip(items, names, strict=True):
        found[name if names.count(name) == 1 else item.replace("/", " ", 1)] = item
    return found


def _numbers(ask: _Ask) -> dict[str, int]:
    rows = ask("SELECT endpoint_id, endpoint_name, endpoint_group FROM endpoints")
    return {f"{group}/{name}" if group else name: int(number) for number, name, group in rows}


def _of_endpoint(ask: _Ask, number: int, site: Site) -> Inherited:
    of = f"WHERE endpoint_id = {number}"
    results = [
        Beat(_moment(at), _state(success), bool(success), duration * _NANOSECOND, str(errors))
        for success, errors, duration, at in ask(
            f"SELECT success, errors, duration, timestamp FROM endpoint_results {of}"  # noqa: S608  a number
            " ORDER BY endpoint_result_id"
        )
    ]
    turns = [
        Beat(_moment(at), _TURNS[kind])
        for kind, at in ask(
            f"SELECT event_type, event_timestamp FROM endpoint_events {of}"  # noqa: S608  a number
            " ORDER BY endpoint_event_id"
        )
        if kind in _TURNS
    ]
    counts = [
        Counted(
            begin=float(hour),
            length=_HOUR,
            up=int(good),
            down=int(total) - int(good),
            mean=time / total / 1000 if total else 0.0,
        )
        for hour, total, good, time in ask(
            "SELECT hour_unix_timestamp, total_executions, successful_executions,"  # noqa: S608  a number
            f" total_response_time FROM endpoint_uptimes {of} ORDER BY hour_unix_timestamp"
        )
    ]
    whole = inherited(site.name, site.group, results, counts, site.interval, "Gatus")
    return _with_turns(whole, site, turns, results)


def _with_turns(whole: Inherited, site: Site, turns: list[Beat], results: list[Beat]) -> Inherited:
    """Take the turns for the time before the single results, where they reach further back."""
    if not turns or not results or turns[0].time >= results[0].time:
        return whole
    early = [one for one in turns if one.time < results[0].time]
    until = results[0].time
    spans = inherited(
        site.name, site.group, [*early, Beat(until, None)], [], until - early[0].time, "Gatus"
    ).spans
    first = early[0].time
    before = [
        replace(one, end=min(one.end or first, first)) for one in whole.spans if one.begin < first
    ]
    after = [one for one in whole.spans if one.begin >= until]
    return Inherited(
        group=whole.group,
        spans=(*before, *spans, *after),
        results=whole.results,
        counts=whole.counts,
    )


def _state(success: Any) -> Condition:
    return Condition.UP if success else Condition.DOWN


def _moment(value: Any) -> Timestamp:
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    found = _MOMENT.match(str(value))
    if found is None:
        return 0.0
    whole = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00").timestamp()
    return whole + float(found[3] or 0)


@contextmanager
def _opened(store: str) -> Iterator[_Ask]:
    shown = hide_credentials(store)
    connection, errors = _connected(store, shown)
    with closing(connection):

        def ask(question: str) -> Iterator[tuple[Any, ...]]:
            cursor = connection.cursor()
            try:
                cursor.execute(question)
                yield from cursor.fetchall()
            except errors as error:
                raise ConfigError([Problem(shown, 1, 1, _why(error))]) from error

        yield ask


def _why(error: Exception) -> str:
    said = str(error).strip().partition("\n")[0]
    if "no such table" in said or "no such column" in said or "does not exist" in said:
        return f"is not a store of Gatus: {said}; name the one of its storage.path"
    return explained(error) if isinstance(error, sqlite3.Error) else f"cannot be read: {said}"


def _connected(store: str, shown: str) -> tuple[Any, type[Exception]]:
    if store.startswith(("postgres://", "postgresql://")):
        try:
            import psycopg  # noqa: PLC0415  an extra
        except ModuleNotFoundError:
            raise MonitorError(
                "Gatus' PostgreSQL needs psycopg: install website-monitor[postgres]"
            ) from None
        try:
            return psycopg.connect(store, connect_timeout=10), psycopg.Error
        except psycopg.Error as error:
            said = str(error).strip().partition("\n")[0]
            raise ConfigError([Problem(shown, 1, 1, f"cannot be read: {said}")]) from error
    return connect(store, "the store of Gatus", "data.db"), sqlite3.Error
