"""``monitor notify``: try a receiver of messages, and see or hurry what waits for them."""

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from monitor.app.tables import TABLES
from monitor.clock import Deadline, SystemClock
from monitor.commands import DOWN, OK
from monitor.commands.options import config_option
from monitor.config.load import load
from monitor.errors import NotifyError, ProbeError
from monitor.messages.notification import Alert, AlertStatus, Notification, fingerprint_of
from monitor.messages.receivers import build_senders
from monitor.model import Failure
from monitor.options import show_duration, unknown
from monitor.outbound import OutgoingRequest, TlsOptions
from monitor.probes.client import Client
from monitor.secrecy import longest_first, without_credentials

_PATIENCE = 30.0
_MOST = 1024**2
_ACCEPTED = 300

_url = click.option(
    "--url",
    default="http://127.0.0.1:10115",
    envvar="MONITOR_URL",
    show_default=True,
    show_envvar=True,
    help="Where the daemon serves; a user and a password may stand in it.",
)
_ca = click.option(
    "--ca-file",
    type=click.Path(dir_okay=False),
    help="The authority of the daemon's certificate, if the system does not trust it.",
)


@click.group()
def notify() -> None:
    """Test receivers of messages, and list or retry the messages that wait."""


@notify.command()
@click.argument("receiver")
@config_option
def test(receiver: str, config: Path) -> None:
    """
    Send a message to RECEIVER now, without a daemon, and print the result.

    Exits with 0 if it was delivered, with 1 otherwise.
    """
    found = load(config, TABLES, os.environ)
    receivers = {one.name: one for one in found.settings.notify.receivers}
    if receiver not in receivers:
        raise NotifyError(f"{receiver!r}: {unknown('receiver', receiver, receivers)}")
    clock = SystemClock()
    secrets = longest_first(found.secrets())
    good = True
    for channel, sender in build_senders(receivers[receiver], Client(), clock, secrets).items():
        outcome = sender.send(_example(channel), receivers[receiver].timeout)
        sender.close()
        good &= outcome.delivered
        click.echo(f"{channel}: {'delivered' if outcome.delivered else 'failed'}: {outcome.detail}")
    sys.exit(OK if good else DOWN)


@notify.command("list")
@_url
@_ca
def list_(url: str, ca_file: str | None) -> None:
    """
    List the receivers of a running daemon: what waits, since when, and the last answer.

    Exits with 1 if one of them cannot be reached.
    """
    answer = json.loads(_ask(url, "/api/v1/receivers", ca_file))
    rows = [_row(one) for one in answer["receivers"]]
    if not rows:
        click.echo("no receivers; list some under notify.receivers")
        sys.exit(OK)
    rows.insert(0, ("RECEIVER", "WAITING", "OLDEST", "LAST ANSWER"))
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for *cells, last in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo(f"{line}  {last}")
    sys.exit(DOWN if any(one["failing_since"] for one in answer["receivers"]) else OK)


@notify.command()
@click.argument("receiver", required=False)
@_url
@_ca
def retry(receiver: str | None, url: str, ca_file: str | None) -> None:
    """Make a running daemon retry what waits for RECEIVER, or for all, at once."""
    query = f"?receiver={quote(receiver, safe='')}" if receiver else ""
    click.echo(_ask(url, f"/-/notify/retry{query}", ca_file, body=b"").strip())


def _row(one: dict[str, Any]) -> tuple[str, str, str, str]:
    oldest = one["oldest_seconds"]
    return (
        one["name"],
        str(one["waiting"]),
        "-" if oldest is None else show_duration(round(oldest)),
        one["last_answer"] or "-",
    )


def _example(channel: str) -> Notification:
    labels = {"alertname": "NotifyTest", "severity": "info", "site": "monitor-notify-test"}
    alert = Alert(
        fingerprint=fingerprint_of(labels),
        labels=labels,
        annotations={
            "summary": "This is a test",
            "description": "Somebody called `monitor notify test`; nothing is wrong.",
        },
        status=AlertStatus.FIRING,
        starts_at=time.time(),
    )
    return Notification(
        key=uuid.uuid4().hex,
        receiver=channel,
        group_key="{}:{}",
        group_labels={},
        status=AlertStatus.FIRING,
        alerts=(alert,),
    )


def _ask(url: str, path: str, ca_file: str | None, body: bytes | None = None) -> str:
    shown = without_credentials(url)
    tls = TlsOptions(ca_file=ca_file)
    call = OutgoingRequest(url=url.rstrip("/") + path, body=body, tls=tls, max_body=_MOST)
    try:
        reply = Client()(call, Deadline.after(_PATIENCE, SystemClock()))
    except ProbeError as error:
        raise NotifyError(str(error)) from error
    if isinstance(reply, Failure):
        raise NotifyError(f"{shown} does not answer: {reply.message}")
    text = reply.body.decode(errors="replace")
    if reply.status >= _ACCEPTED:
        raise NotifyError(f"{shown} answered with status {reply.status}: {text.strip()[:200]}")
    return text
