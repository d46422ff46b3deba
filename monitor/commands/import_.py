"""``monitor import``: other programs' configurations in our form."""

from pathlib import Path

import click

from monitor.app import daemon
from monitor.errors import ConfigError
from monitor.importers.blackbox import imported


@click.group(name="import")
def import_() -> None:
    """Write what other programs' configurations say in our form."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path))
def blackbox(file: Path) -> None:
    """Print a blackbox_exporter file as modules of ours; comments say what has no equivalent."""
    done = imported(file, daemon.TABLES)
    click.echo(done.text, nl=False)
    if done.problems:
        raise ConfigError(done.problems)
