"""``monitor import``: other programs' configurations in our form."""

import os
from collections.abc import Callable
from pathlib import Path

import click

from monitor.app import daemon
from monitor.errors import ConfigError, MonitorError
from monitor.importers import blackbox as of_blackbox
from monitor.importers.draft import Fate
from monitor.importers.gatus import listing as of_gatus
from monitor.importers.imported import Imported
from monitor.importers.kuma import listing as of_kuma
from monitor.secrecy import hide_credentials

_OWNER_ONLY = 0o600


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every import can be asked for."""
    secrets = click.option(
        "--secrets",
        type=click.Path(path_type=Path, dir_okay=False),
        default="secrets.env",
        show_default=True,
        help="Where secrets go, as NAME=value; made for its owner alone, and never overwritten.",
    )
    report = click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write what became of each field to this file, as JSON.",
    )
    return secrets(report(command))


@click.group(name="import")
def import_() -> None:
    """Write what other programs' configurations say in our form."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path))
@_options
def blackbox(file: Path, secrets: Path, report: Path | None) -> None:
    """Print a blackbox_exporter file as modules of ours; comments say what has no equivalent."""
    _print(of_blackbox.imported(file, daemon.TABLES), file.name, secrets, report)


@import_.command()
@click.argument("path", type=click.Path(path_type=Path))
@_options
def gatus(path: Path, secrets: Path, report: Path | None) -> None:
    """
    Print a file or folder of Gatus as a site list; comments say what could not be carried.

    Variables of the environment are read as Gatus reads them, and stay variables in the list.
    """
    _print(of_gatus.imported(path, daemon.TABLES, os.environ), path.name, secrets, report)


@import_.command(name="uptime-kuma")
@click.argument("database")
@_options
def uptime_kuma(database: str, secrets: Path, report: Path | None) -> None:
    """
    Print the monitors of Uptime Kuma as a site list; comments say what could not be carried.

    DATABASE is its file kuma.db, of version 1.23 or later, or mysql://USER:PASSWORD@HOST/DATABASE,
    which needs the extra website-monitor[mysql]. Nothing is changed in it.
    """
    done = of_kuma.imported(database, daemon.TABLES, os.environ)
    _print(done, hide_credentials(database), secrets, report)


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
    many = len(done.secrets)
    click.echo(f"{many} secret{'s' * (many > 1)} written to {path}", err=True)
