"""``monitor probe``: one URL, which need not be in the list."""

import json
from typing import Any

import click

from monitor import logs
from monitor.app.once import check_once
from monitor.app.tables import TABLES
from monitor.commands import DOWN, OK, terminal
from monitor.commands.arguments import Argument, load_arguments, read_value
from monitor.commands.options import log_options
from monitor.commands.output import console, exit_after
from monitor.protocols.table import SCHEMES
from monitor.report import result_json

_INTERVAL = "366d"


@click.command()
@click.argument("url")
@click.option("--timeout", metavar="DURATION", help="The one deadline; by default 10s.")
@click.option("-X", "--method", help="The HTTP method.")
@click.option("-H", "--header", multiple=True, metavar="'NAME: VALUE'", help="A request header.")
@click.option("-d", "--body", help="The request's body.")
@click.option("--no-redirects", is_flag=True, help="Judge the first answer.")
@click.option("--http-version", metavar="1.1|2|3", help="Demand this version.")
@click.option("--proxy", metavar="URL", help="Go through this proxy.")
@click.option("-k", "--insecure", is_flag=True, help="Accept any certificate.")
@click.option("--ca-file", metavar="PEM", help="Trust these authorities instead of the system's.")
@click.option("--ip", type=click.Choice(["4", "6"]), help="Use this IP version.")
@click.option("--connect-to", metavar="HOST:PORT", help="Reach this instead of the URL's host.")
@click.option("--status", metavar="STATUS", help="Expect this status, such as 2xx or 301.")
@click.option("--contains", metavar="TEXT", help="Expect this in the body.")
@click.option(
    "-o",
    "--option",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any option of a site, such as expect.latency=500ms or icmp.count=5.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@log_options("error")
def probe(
    url: str,
    timeout: str | None,
    method: str | None,
    header: tuple[str, ...],
    body: str | None,
    no_redirects: bool,
    http_version: str | None,
    proxy: str | None,
    insecure: bool,
    ca_file: str | None,
    ip: str | None,
    connect_to: str | None,
    status: str | None,
    contains: str | None,
    option: tuple[str, ...],
    as_json: bool,
    log_level: str,
    log_format: logs.Form,
) -> None:
    """Check one URL, whether it is in the list or not, and show everything about the check."""
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    given: tuple[tuple[str, str, Any], ...] = (
        ("URL", "url", url),
        # It is checked once, so no timeout is too long
        ("-o interval", "interval", _INTERVAL),
        ("--timeout", "timeout", timeout),
        ("--method", "http.method", method),
        ("--header", "http.headers", dict(map(_header, header)) or None),
        ("--body", "http.body", body),
        ("--no-redirects", "http.follow_redirects", False if no_redirects else None),
        ("--http-version", "http.version", http_version),
        ("--proxy", "http.proxy", proxy),
        ("--insecure", "tls.verify", False if insecure else None),
        ("--ca-file", "tls.ca_file", ca_file),
        ("--ip", "network.ip", ip),
        ("--connect-to", "network.connect_to", connect_to),
        ("--status", "expect.status", status),
        ("--contains", "expect.body", {"contains": contains} if contains is not None else None),
    )
    arguments = [Argument(*one) for one in given if one[-1] is not None]
    loaded = load_arguments([*arguments, *map(_option, option)], TABLES)
    secrets.values = loaded.sites[0].secrets
    if SCHEMES[loaded.sites[0].scheme].reports_itself:
        raise click.UsageError("push sites report themselves; there is nothing to probe from here")
    results, drained = check_once(loaded.sites, loaded.settings, lambda _: False)
    for result in results:
        if as_json:
            click.echo(json.dumps(result_json(result), indent=2, ensure_ascii=False))
        else:
            console().print(terminal.probe_report(result))
    exit_after(OK if results and results[0].up else DOWN, drained)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"{text!r} is not 'NAME: VALUE'")
    return name.strip(), value.strip()


def _option(text: str) -> Argument:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    return Argument(f"-o {key}", key, read_value(value))
