"""``monitor validate``: every problem of a configuration."""

import json
import os
import sys
from pathlib import Path

import click

from monitor.app import daemon
from monitor.commands import BAD, OK
from monitor.commands.options import config_option
from monitor.config.load import load
from monitor.errors import ConfigError, Problem


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]..."
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate(files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """
    Print every problem of the configuration, or of each FILE by itself, with its place.

    Exits with 0 if there is no problem, with 2 otherwise.
    """
    problems: list[Problem] = []
    sites = 0
    for path in files or (config,):
        try:
            sites += len(load(path, daemon.TABLES, os.environ).sites)
        except ConfigError as error:
            problems += error.problems
    if as_json:
        listed = [
            {"file": one.file, "line": one.line, "column": one.column, "message": one.message}
            for one in problems
        ]
        document = {"valid": not problems, "sites": sites, "problems": listed}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(str(problem))
        if not problems:
            click.echo(f"{sites} {'site' if sites == 1 else 'sites'}, no problem")
    sys.exit(BAD if problems else OK)
