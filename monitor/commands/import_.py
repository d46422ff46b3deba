"""``monitor import``: other programs' configurations in our form."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from monitor import __version__
from monitor.app.keeping import data_folder
from monitor.app.memory import take_over
from monitor.app.tables import TABLES
from monitor.commands.options import config_option, data_option
from monitor.config.load import load
from monitor.errors import ConfigError, MonitorError
from monitor.importers import blackbox as of_blackbox
from monitor.importers.draft import Fate
from monitor.importers.gatus import listing as of_gatus
from monitor.importers.gatus import past as of_gatus_past
from monitor.importers.imported import Imported
from monitor.importers.kuma import listing as of_kuma
from monitor.importers.kuma import past as of_kuma_past
from monitor.model import Site
from monitor.naming import natural_key
from monitor.options import show_count
from monitor.past import Condition, Inherited
from monitor.report import moment
from monitor.secrecy import hide_credentials

_OWNER_ONLY = 0o600


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every import."""
    secrets = click.option(
        "--secrets",
        type=click.Path(path_type=Path, dir_okay=False),
        default="secrets.env",
        show_default=True,
        help="Where secrets go, as NAME=value; only its owner can read it; never overwritten.",
    )
    report = click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write what became of each field to this file, as JSON.",
    )
    return secrets(report(command))


@click.group(name="import")
def import_() -> None:
    """Write a configuration of this monitor from the one of another program."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
def blackbox(file: Path, secrets: Path, report: Path | None) -> None:
    """Print a blackbox_exporter file as our modules; comments say what has no equivalent."""
    _print(of_blackbox.imported(file, TABLES), file.name, secrets, report)


def _history_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that import the past."""
    history = click.option(
        "--history",
        is_flag=True,
        help="Import the past of the sites in --config into --data, instead of printing a list.",
    )
    return history(config_option(data_option(command)))


@import_.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--store",
    metavar="FILE|URL",
    help="With --history: where Gatus keeps results, if not where its storage.path says.",
)
@_options
@_history_options
def gatus(
    path: Path,
    store: str | None,
    secrets: Path,
    report: Path | None,
    history: bool,
    config: Path,
    data: str | None,
) -> None:
    """
    Print a file or folder of Gatus as a site list; comments say what could not be imported.

    Environment variables are read as Gatus reads them, and stay variables in the list.
    """
    done = of_gatus.imported(path, TABLES, os.environ)
    if not history:
        _print(done, path.name, secrets, report)
        return
    place = store or of_gatus.store_of(path, os.environ)
    if place is None:
        raise click.UsageError(f"{path} names no store of its results; say --store FILE or URL")
    _carry(config, data, lambda sites: of_gatus_past.past(place, done.names, sites))


@import_.command(name="uptime-kuma")
@click.argument("database")
@_options
@_history_options
def uptime_kuma(
    database: str,
    secrets: Path,
    report: Path | None,
    history: bool,
    config: Path,
    data: str | None,
) -> None:
    """
    Print the monitors of Uptime Kuma as a site list; comments say what could not be imported.

    DATABASE is its file kuma.db, of version 1.23 or later, or mysql://USER:PASSWORD@HOST/DATABASE,
    which needs the extra website-monitor[mysql]. The import only reads it.
    """
    if history:
        _carry(config, data, lambda sites: of_kuma_past.past(database, sites))
        return
    done = of_kuma.imported(database, TABLES, os.environ)
    _print(done, hide_credentials(database), secrets, report)


def _carry(
    config: Path,
    data: str | None,
    past: Callable[[Mapping[str, Site]], Mapping[str, Inherited]],
) -> None:
    """Import what is known about the sites of a list into the history, and print the outcome."""
    loaded = load(config, TABLES, os.environ)
    sites = {site.name: site for site in loaded.sites}
    found = past(sites)
    folder = data_folder(data, os.environ)
    written = take_over(folder, loaded.settings.history, found, __version__)
    for name in sorted(sites, key=natural_key):
        one = written.get(name)
        if one is None:
            click.echo(f"{name}: not known there")
            continue
        begin = min((span.begin for span in one.spans), default=None)
        outages = sum(span.condition is Condition.DOWN for span in one.spans)
        since = (
            "nothing new"
            if begin is None
            else f"since {moment(begin)}, {show_count(outages, 'outage')}"
        )
        click.echo(f"{name}: {since}, {show_count(len(one.results), 'check')}")


def _print(done: Imported, source: str, secrets: Path, report: Path | None) -> None:
    if done.secrets:
        _write_secrets(done, secrets)
    if report is not None:
        report.write_text(done.report(source), encoding="utf-8")
        counts = ", ".join(f"{done.count(fate)} {fate}" for fate in Fate)
        click.echo(f"{report}: {counts}", err=True)
    click.echo(done.text, nl=False)
    if done.problems:
        raise ConfigError(done.problems)


def _write_secrets(done: Imported, path: Path) -> None:
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise MonitorError(
            f"{path} exists, and holds secrets perhaps; name another file by --secrets"
        ) from None
    except OSError as error:
        raise MonitorError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(target, "w", encoding="utf-8") as file:
        file.write(done.environment())
    click.echo(f"{show_count(len(done.secrets), 'secret')} written to {path}", err=True)
