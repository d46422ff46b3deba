"""``monitor check``: every site once, now."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from monitor import logs
from monitor.app.once import check_once
from monitor.app.tables import TABLES
from monitor.commands import DOWN, OK, terminal
from monitor.commands.junit import write_junit
from monitor.commands.options import config_option, log_options
from monitor.commands.output import console, exit_after
from monitor.config.load import Config, load
from monitor.importers.verdicts import last_verdicts
from monitor.model import Result, Site
from monitor.protocols.table import SCHEMES
from monitor.report import moment, result_json
from monitor.secrecy import longest_first
from monitor.units import Timestamp

_log = logging.getLogger(__name__)


@click.command()
@click.argument("names", nargs=-1, metavar="[SITE]...")
@config_option
@click.option("--group", multiple=True, help="Only sites of this group; may be repeated.")
@click.option(
    "--label",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only sites with this label; if repeated, all must match.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first site that is down.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a JUnit report to this file as well.",
)
@click.option(
    "--compare",
    metavar="FILE|URL",
    help="Show where another monitor's last verdict differs: Uptime Kuma's kuma.db, Gatus' store.",
)
@log_options("error")
def check(
    names: tuple[str, ...],
    config: Path,
    group: tuple[str, ...],
    label: tuple[str, ...],
    fail_fast: bool,
    as_json: bool,
    junit: Path | None,
    compare: str | None,
    log_level: str,
    log_format: logs.Form,
) -> None:
    """
    Check every site once, or only the named ones.

    Sites that report themselves (push:) are left out.

    Exits with 0 if all are up, with 1 if one is down or could not be checked.
    """
    loaded = _load(config, log_level, log_format)
    sites = _pick(loaded.sites, names, group, label)
    theirs = {} if compare is None else last_verdicts(compare)
    screen = Console(stderr=True)
    progress = Progress(
        TextColumn("checking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=as_json or not screen.is_terminal,
    )
    task = progress.add_task("checking", total=len(sites))

    def on_result(result: Result) -> bool:
        progress.advance(task)
        return fail_fast and result.up is False

    with progress:
        results, drained = check_once(
            sites, loaded.settings, on_result, connectivity=loaded.connectivity
        )
    up = sum(result.up is True for result in results)
    down = sum(result.up is False for result in results)
    if junit is not None:
        write_junit(junit, results)
    if as_json:
        document = {
            "up": up,
            "down": down,
            "results": [result_json(result) for result in results],
        }
        if compare is not None:
            document["compared"] = [_compared_json(result, theirs) for result in results]
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console().print(terminal.results_table(results))
        click.echo(f"{up} up, {down} down, {len(sites) - up - down} not checked")
        if compare is not None:
            _compare(results, theirs)
    exit_after(OK if up == len(sites) else DOWN, drained)


def _compare(results: Sequence[Result], theirs: Mapping[str, tuple[bool, Timestamp]]) -> None:
    """Print the sites about which the other monitor says something else, and those it lacks."""
    unknown = [one.site for one in results if one.site not in theirs]
    differing = 0
    for one in results:
        if one.site in theirs and one.up is not theirs[one.site][0]:
            differing += 1
            up, at = theirs[one.site]
            here = _word(one.up)
            if one.up is not True:
                message = one.analysis.verdict.message if one.analysis else one.error or ""
                here = f"{here} ({message})"
            click.echo(f"{one.site}: {here} here, {_word(up)} there at {moment(at)}")
    same = len(results) - len(unknown) - differing
    click.echo(f"{same} as there, {differing} otherwise, {len(unknown)} not known there")


def _compared_json(
    result: Result, theirs: Mapping[str, tuple[bool, Timestamp]]
) -> dict[str, object]:
    up, at = theirs.get(result.site, (None, None))
    return {
        "site": result.site,
        "up": result.up,
        "theirs": up,
        "at": None if at is None else moment(at),
    }


def _word(up: bool | None) -> str:
    return {True: "up", False: "down", None: "not checked"}[up]


def _load(path: Path, log_level: str, log_format: logs.Form) -> Config:
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    config = load(path, TABLES, os.environ)
    secrets.values = longest_first(config.secrets())
    if config.sources:
        # Loaded here, because most lists have no sources
        discover = import_module("monitor.app.discovery").discover_once
        config, wrong = discover(config, TABLES)
        secrets.values = longest_first(config.secrets())
        for one in wrong:
            _log.error("discovery_failed", extra=logs.fields(detail=one))
    return config


def _pick(
    sites: Sequence[Site], names: Sequence[str], groups: Sequence[str], labels: Sequence[str]
) -> list[Site]:
    """Return the requested sites; all if none is requested."""
    known = [site.name for site in sites]
    asked = [site for site in sites if not SCHEMES[site.scheme].reports_itself]
    asked_names = {site.name for site in asked}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no site is named {name!r}{hint}")
        if name not in asked_names:
            raise click.UsageError(f"{name!r} reports itself; there is nothing to check from here")
    for group in groups:
        if group not in {site.group for site in sites}:
            raise click.UsageError(f"no site is in group {group!r}")
    wanted = set()
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals:
            raise click.UsageError(f"{label!r} is not NAME=VALUE")
        wanted.add((name, value))
    picked = [
        site
        for site in asked
        if (not names or site.name in names)
        and (not groups or site.group in groups)
        and wanted.issubset(site.labels)
    ]
    if not picked:
        raise click.UsageError("no site matches all of these conditions")
    return picked
