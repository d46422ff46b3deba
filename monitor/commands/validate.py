"""``monitor validate``: every problem of a configuration."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from monitor.app.tables import TABLES
from monitor.commands import BAD, OK
from monitor.commands.options import config_option
from monitor.config.load import load
from monitor.errors import ConfigError, Problem
from monitor.options import show_count


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, readable=False), metavar="[FILE]..."
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate(files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """
    Print every problem of the configuration, or of each FILE by itself, with its place.

    Exits with 0 if there is no problem, with 2 otherwise. A warning names what is allowed but
    probably not meant, and of modules that are left out; it does not change the exit status.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    sites = 0
    for path in files or (config,):
        try:
            loaded = load(path, TABLES, os.environ)
            sites += len(loaded.sites)
            warnings += loaded.warnings
        except ConfigError as error:
            problems += error.problems
    if as_json:
        document = {
            "valid": not problems,
            "sites": sites,
            "problems": list(map(asdict, problems)),
            "warnings": list(map(asdict, warnings)),
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(str(problem))
        for one in warnings:
            click.echo(f"{one.file}:{one.line}:{one.column}: warning: {one.message}")
        if not problems:
            click.echo(f"{show_count(sites, 'site')}, no problem")
    sys.exit(BAD if problems else OK)
