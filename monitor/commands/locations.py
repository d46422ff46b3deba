"""``monitor locations``: which places report, and the stream that carries the reports."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from monitor.app.places import access_of, fingerprint, located, require_nats
from monitor.app.tables import TABLES
from monitor.clock import SystemClock
from monitor.commands import DOWN, OK
from monitor.commands.options import config_option
from monitor.config.load import load
from monitor.locations.subjects import STREAM
from monitor.options import show_count, show_size

if TYPE_CHECKING:
    from monitor.locations.stream import StreamLook


@click.group(invoke_without_command=True)
@click.pass_context
@config_option
def locations(ctx: click.Context, config: Path) -> None:
    """
    Show which places report: version, list, clock, and what waits in the places and for the hub.

    Listens for a few seconds, with the hub's rights. Exits with 1 if a place
    checks another list than this one, or if no place reports.
    """
    if ctx.invoked_subcommand is not None:
        if ctx.get_parameter_source("config") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"write --config after {ctx.invoked_subcommand}")
        return
    require_nats()
    loaded = load(config, TABLES, os.environ)
    settings = located(loaded.settings.locations)
    from monitor.locations import stream  # noqa: PLC0415  see require_nats()

    look = stream.look(access_of(settings), SystemClock())
    click.echo(
        f"stream: {show_count(look.messages, 'message')}, {look.size / 2**20:.1f} MiB of"
        f" {show_size(settings.stream)}, the last is {look.last}"
    )
    for line in reading(look, settings.partitions):
        click.echo(line)
    own = fingerprint(loaded)
    differs = False
    for beat, skew in look.beats:
        same = beat.fingerprint == own
        differs = differs or not same
        note = "" if same else f" (differs from {own} here)"
        click.echo(
            f"{beat.sender.location} {beat.sender.part}: version {beat.version},"
            f" {show_count(beat.sites, 'site')}, list {beat.fingerprint}{note},"
            f" clock {round(skew, 1) + 0:+.1f} s, {beat.waiting} reports wait, {beat.dropped} lost"
        )
    if not look.beats:
        click.echo("no place gives a sign of life")
    sys.exit(DOWN if differs or not look.beats else OK)


def reading(look: "StreamLook", partitions: int) -> Iterator[str]:
    """Yield how far hubs have read each partition."""
    if look.readings is None:
        yield (
            "what waits for the hub is not known: the user may not publish to"
            " $JS.API.CONSUMER.LIST.MONITOR_REPORTS"
        )
        return
    for one in look.readings:
        yield (
            f"partition {one.partition}: a hub has read up to message {one.last},"
            f" {one.waiting} messages wait"
        )
    unread = {*range(1, partitions + 1)} - {one.partition for one in look.readings}
    if unread:
        yield f"no hub reads partition {', '.join(map(str, sorted(unread)))}"


@locations.command()
@config_option
def setup(config: Path) -> None:
    """
    Make the stream that carries reports, or bring it to what the list says.

    It may be run again at any time. It needs the right to make streams, which neither places nor
    hubs need.
    """
    require_nats()
    settings = located(load(config, TABLES, os.environ).settings.locations)
    from monitor.locations import stream  # noqa: PLC0415  see require_nats()

    done = stream.set_up(access_of(settings), settings.stream)
    click.echo(f"stream {STREAM}: {done}")
