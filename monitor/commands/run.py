"""``monitor run``: the daemon."""

import os
from pathlib import Path

import click

from monitor import logs
from monitor.app import daemon
from monitor.app.keeping import data_folder
from monitor.app.places import role_of
from monitor.app.process import leave
from monitor.app.sharding import parse_shard
from monitor.commands import OK
from monitor.commands.options import config_option, data_option, listen_option, log_options


@click.command()
@config_option
@listen_option
@click.option(
    "--web-config",
    type=click.Path(path_type=Path),
    help="A file in exporter-toolkit's form, for TLS and basic authentication.",
)
@click.option(
    "--listen-public",
    multiple=True,
    envvar="MONITOR_LISTEN_PUBLIC",
    show_envvar=True,
    metavar="HOST:PORT|unix:PATH",
    help="Where the public status pages, their feeds and badges are served, and nothing else.",
)
@data_option
@click.option(
    "--shard",
    default="1/1",
    metavar="NUMBER/TOTAL|auto",
    help="Check only one part of the sites; auto: the part of this StatefulSet's pod.",
)
@click.option(
    "--location",
    metavar="NAME",
    help="Be one of several places: report the states of sites here to the hub.",
)
@click.option(
    "--hub",
    is_flag=True,
    help="Check nothing, and join the reports of the places into one verdict.",
)
@log_options("info")
def run(
    config: Path,
    listen: tuple[str, ...],
    web_config: Path | None,
    listen_public: tuple[str, ...],
    data: str | None,
    shard: str,
    location: str | None,
    hub: bool,
    log_level: str,
    log_format: logs.Form,
) -> None:
    """Check every site on its interval and serve the results, until told to stop."""
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    options = daemon.RunOptions(
        config=config,
        listen=listen,
        listen_public=listen_public,
        web_config=web_config,
        shard=parse_shard(shard, os.environ),
        data=data_folder(data, os.environ),
        role=role_of(location, hub=hub),
    )
    if not daemon.run(options, secrets):
        leave(OK)
