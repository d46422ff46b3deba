"""``monitor history``: look after the store of what is remembered, and take it elsewhere."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click

from monitor.app.keeping import data_folder
from monitor.app.memory import open_history, open_upkeep
from monitor.app.tables import TABLES
from monitor.commands import DOWN, OK
from monitor.commands.options import config_option, data_option
from monitor.config.load import load
from monitor.config.settings import HistorySettings
from monitor.history.reader import Reader
from monitor.history.rollup import LEVELS
from monitor.history.upkeep import Upkeep
from monitor.naming import natural_key
from monitor.report import csv_lines, moment


@click.group()
def history() -> None:
    """Check, compact and export the history."""


@history.command()
@config_option
@data_option
def check(config: Path, data: str | None) -> None:
    """
    Look for damage in the file and in its contents.

    Exits with 0 if there is no damage, with 1 otherwise. A daemon may run meanwhile.
    """
    with _upkeep(config, data) as upkeep:
        problems = list(upkeep.problems())
        for problem in problems:
            click.echo(problem)
        if not problems:
            click.echo(f"{upkeep.size() / 2**20:.1f} MiB, no damage")
    sys.exit(DOWN if problems else OK)


@history.command()
@config_option
@data_option
def vacuum(config: Path, data: str | None) -> None:
    """
    Return the store's unused space to the system.

    A daemon may run meanwhile; new results wait in its memory until this is over.
    """
    with _upkeep(config, data) as upkeep:
        before = upkeep.size()
        upkeep.vacuum()
        click.echo(f"{before / 2**20:.1f} MiB before, {upkeep.size() / 2**20:.1f} MiB now")


@history.command()
@config_option
@data_option
@click.argument("what", type=click.Choice(["spans", "results", "rollups"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="CSV, or JSON Lines.",
)
@click.option("--site", multiple=True, help="Only this site; may be repeated.")
def export(config: Path, data: str | None, what: str, form: str, site: tuple[str, ...]) -> None:
    """Print spans, results or rollups, as CSV or as JSON Lines."""
    folder, settings = _place(config, data)
    reader = open_history(folder, settings)
    try:
        known = sorted((one.name for one in reader.listing()), key=natural_key)
        for name in site:
            if name not in known:
                raise click.UsageError(f"no site {name!r} is remembered")
        _print(_EXPORTS[what](reader, site or known), form)
    finally:
        reader.close()


def _spans(reader: Reader, sites: Iterable[str]) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC).timestamp()
    for one in reader.spans(list(sites), 0, now):
        yield {
            "site": one.site,
            "condition": str(one.condition),
            "begin": moment(one.begin),
            "end": None if one.end is None else moment(one.end),
            "reason": one.reason,
            "message": one.message,
        }


def _results(reader: Reader, sites: Iterable[str]) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC).timestamp()
    for site in sites:
        for one in reversed(reader.results(site, 0, now)):
            yield {
                "site": site,
                "time": moment(one.time),
                "up": one.up,
                "duration_seconds": one.duration,
                "reason": one.reason,
            }


def _rollups(reader: Reader, sites: Iterable[str]) -> Iterator[dict[str, Any]]:
    for site in sites:
        for level in LEVELS:
            for begin, one in reader.rollups(site, level):
                yield {
                    "site": site,
                    "kind": level.name,
                    "begin": moment(begin),
                    "up": one.up,
                    "down": one.down,
                    "unknown": one.unknown,
                    "min_seconds": one.least / 1e6 if one.up else None,
                    "p50_seconds": _seconds(one.quantile(0.5)),
                    "p95_seconds": _seconds(one.quantile(0.95)),
                    "p99_seconds": _seconds(one.quantile(0.99)),
                    "max_seconds": one.most / 1e6 if one.up else None,
                }


_EXPORTS: dict[str, Callable[[Reader, Iterable[str]], Iterator[dict[str, Any]]]] = {
    "spans": _spans,
    "results": _results,
    "rollups": _rollups,
}


def _print(rows: Iterable[dict[str, Any]], form: str) -> None:
    if form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    rows = iter(rows)
    first = next(rows, None)
    if first is not None:
        for line in csv_lines(list(first), chain([first], rows)):
            click.echo(line, nl=False)


def _seconds(duration: int | None) -> float | None:
    return None if duration is None else duration / 1e6


def _place(config: Path, data: str | None) -> tuple[Path | None, HistorySettings]:
    settings = load(config, TABLES, os.environ).settings.history
    return data_folder(data, os.environ), settings


def _upkeep(config: Path, data: str | None) -> Upkeep:
    return open_upkeep(*_place(config, data))
