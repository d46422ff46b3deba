"""Options that several commands share; imports little, because each of them loads this."""

from collections.abc import Callable
from pathlib import Path

import click

_DEFAULT_CONFIG = "config/sites.yaml"
_DEFAULT_LISTEN = ":10115"

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # whether it is, is told with its place
    default=_DEFAULT_CONFIG,
    envvar="MONITOR_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The site list: a file, or a folder of *.yaml.",
)


listen_option = click.option(
    "--listen",
    multiple=True,
    default=[_DEFAULT_LISTEN],
    envvar="MONITOR_LISTEN",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT|unix:PATH",
    help="Where metrics and pages are served; may be given several times.",
)


data_option = click.option(
    "--data",
    metavar="DIR|none",
    help="The folder for states and history; by default $MONITOR_DATA, else systemd's"
    " $STATE_DIRECTORY, else data/. The word none keeps nothing.",
)


def log_options(level: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of the log; *level* is the default level."""
    options = (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="The form of the log lines on standard error.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default=level,
            show_default=True,
            help="The least important lines to log.",
        ),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            command = option(command)
        return command

    return decorate
