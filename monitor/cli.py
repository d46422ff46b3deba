"""The list of commands, and how errors are printed."""

import os
import platform
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click

from monitor import __version__
from monitor.commands import BAD
from monitor.errors import ConfigError, MonitorError

_COMMANDS: Mapping[str, str] = {
    "check": "monitor.commands.check",
    "healthcheck": "monitor.commands.healthcheck",
    "history": "monitor.commands.history",
    "import": "monitor.commands.import_",
    "locations": "monitor.commands.locations",
    "notify": "monitor.commands.notify",
    "probe": "monitor.commands.probe",
    "report": "monitor.commands.report",
    "run": "monitor.commands.run",
    "schema": "monitor.commands.schema",
    "validate": "monitor.commands.validate",
}
"""The module of each command; the command in it has the last part of the module's name."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command when it is called."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            near = get_close_matches(cmd_name, _COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"there is no command {cmd_name!r}{hint}", ctx)
        command: click.Command = getattr(import_module(module), module.rpartition(".")[2])
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and print our errors as a sentence; click prints its own, and exits with 2."""
        # If the parent process closed them, Python sets them to None
        sys.stdout = sys.stdout or _nowhere()
        sys.stderr = sys.stderr or _nowhere()
        if isinstance(sys.stdout, TextIOWrapper):
            # As standard error already does: names may contain what the terminal cannot show
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
        except MonitorError as error:
            click.echo(f"monitor: {error}", err=True)
        except OSError as error:
            if error.filename is not None:
                click.echo(f"monitor: cannot open {error.filename}: {error.strerror}", err=True)
            else:
                click.echo(f"monitor: cannot write the output: {error.strerror}", err=True)
                # Whatever Python has still buffered cannot be written at exit either
                sys.stdout = _nowhere()
        sys.exit(BAD)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from monitor.probes.version import LIBCURL_VERSION  # noqa: PLC0415  only this needs libcurl

        python = platform.python_version()
        click.echo(f"monitor {__version__} (Python {python}, libcurl {LIBCURL_VERSION})")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version of this program, of Python and of libcurl, and exit.",
)
def cli() -> None:
    """Check websites and other services, and export the results to Prometheus."""
