"""``monitor schema``: the site list's JSON Schema."""

import json

import click

from monitor.app.tables import TABLES
from monitor.config.json_schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the site list, for editors."""
    click.echo(json.dumps(json_schema(TABLES), indent=2, ensure_ascii=False))
