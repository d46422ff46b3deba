"""``monitor import``: other programs' configurations in our form."""

from pathlib import Path

import click

from monitor.config.blackbox import imported


@click.group(name="import")
def import_() -> None:
    """Write what other programs' configurations say in our form."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path))
def blackbox(file: Path) -> None:
    """Print a blackbox_exporter file as modules of ours; comments say what has no equivalent."""
    click.echo(imported(file), nl=False)
