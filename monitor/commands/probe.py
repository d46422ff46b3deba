"""``monitor probe``: one URL, which need not be in the list."""

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from monitor import daemon, logs, present
from monitor.commands import DOWN, OK
from monitor.commands.options import log_options
from monitor.commands.output import console, exit_after
from monitor.config.load import Config, load_text
from monitor.errors import ConfigError
from monitor.report import result_json


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
    """Check one URL, which need not be in the list, and show everything there is to see."""
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    given = {
        "timeout": timeout,
        "http.method": method,
        "http.headers": dict(map(_header, header)) or None,
        "http.body": body,
        "http.follow_redirects": False if no_redirects else None,
        "http.version": http_version,
        "http.proxy": proxy,
        "tls.verify": False if insecure else None,
        "tls.ca_file": ca_file,
        "network.ip": ip,
        "network.connect_to": connect_to,
        "expect.status": status,
        "expect.body": {"contains": contains} if contains is not None else None,
        **dict(map(_option, option)),
    }
    loaded = _load_arguments(url, given)
    secrets.values = loaded.sites[0].secrets
    results, drained = daemon.check(loaded.sites, loaded.settings, lambda _: False)
    for result in results:
        if as_json:
            click.echo(json.dumps(result_json(result), indent=2, ensure_ascii=False))
        else:
            console().print(present.probe_report(result))
    exit_after(OK if results and results[0].up else DOWN, drained)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.UsageError(f"{text!r} is not 'NAME: VALUE'")
    return name.strip(), value.strip()


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _load_arguments(url: str, given: Mapping[str, Any]) -> Config:
    """
    Return a configuration of one site, as if it had been written into a file.

    Raises:
        click.UsageError: It would be wrong there too.
    """
    site: dict[str, Any] = {"url": url}
    for key, value in given.items():
        if value is not None:
            *sections, last = key.split(".")
            node = site
            for section in sections:
                node = node.setdefault(section, {})
                if not isinstance(node, dict):
                    raise click.UsageError(f"{key!r}: {section!r} has no keys below it")
            node[last] = value
    try:
        # JSON is YAML, and a dollar on the command line is the shell's business, not ours
        text = json.dumps({"sites": [site]}).replace("$", "$$")
        return load_text(text, daemon.TABLES, os.environ)
    except ConfigError as error:
        raise click.UsageError("\n".join(problem.message for problem in error.problems)) from error
