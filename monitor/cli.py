"""The command line: arguments, what is printed, exit codes."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TextIO
from xml.etree import ElementTree as ET

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from monitor import __version__, daemon, logs, present
from monitor.config.blackbox import imported
from monitor.config.load import Config, load, load_text
from monitor.config.schema import json_schema
from monitor.errors import ConfigError, MonitorError, Problem
from monitor.model import Result, Site, longest_first
from monitor.probes.transport import LIBCURL_VERSION
from monitor.report import result_json

OK = 0
DOWN = 1
BAD = 2
"""Bad configuration or arguments, or a daemon that cannot start."""

_DEFAULT_CONFIG = "config/sites.yaml"
_DEFAULT_LISTEN = ":10115"
_UNBOUNDED = 10_000


class _Commands(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and say our errors in a sentence; click does so for its own, and exits with 2."""
        # Closed by whoever started us; Python then has None in their place
        sys.stdout = sys.stdout or _nowhere()
        sys.stderr = sys.stderr or _nowhere()
        try:
            return super().main(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
        except MonitorError as error:
            click.echo(f"monitor: {error}", err=True)
        except OSError as error:
            click.echo(f"monitor: cannot write the output: {error.strerror}", err=True)
            # What Python still holds of it cannot be written at the end either
            sys.stdout = _nowhere()
        sys.exit(BAD)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=_DEFAULT_CONFIG,
    envvar="MONITOR_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The site list: a file, or a folder of *.yaml.",
)


def _log_options(level: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of the log; *level* is what is told where nothing is asked for."""
    options = (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default=level,
            show_default=True,
        ),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            command = option(command)
        return command

    return decorate


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__,
    message=f"monitor %(version)s (Python {platform.python_version()}, libcurl {LIBCURL_VERSION})",
)
def cli() -> None:
    """Watch websites and other services, and tell Prometheus how they are."""


@cli.command()
@_config_option
@click.option(
    "--listen",
    multiple=True,
    default=[_DEFAULT_LISTEN],
    show_default=True,
    metavar="HOST:PORT",
    help="Where to serve metrics and pages; may be given several times.",
)
@click.option(
    "--web-config",
    type=click.Path(path_type=Path),
    help="A file in exporter-toolkit's form, for TLS and basic authentication.",
)
@_log_options("info")
def run(
    config: Path,
    listen: tuple[str, ...],
    web_config: Path | None,
    log_level: str,
    log_format: logs.Form,
) -> None:
    """Check every site on its interval and serve the results, until told to stop."""
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    options = daemon.RunOptions(config=config, listen=listen, web_config=web_config)
    if not daemon.run(options, secrets):
        daemon.leave(OK)


@cli.command()
@click.argument("names", nargs=-1, metavar="[SITE]...")
@_config_option
@click.option("--group", multiple=True, help="Only sites of this group; may be repeated.")
@click.option(
    "--label",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only sites with this label; several must all fit.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first site that is down.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a JUnit report to this file as well.",
)
@_log_options("error")
def check(
    names: tuple[str, ...],
    config: Path,
    group: tuple[str, ...],
    label: tuple[str, ...],
    fail_fast: bool,
    as_json: bool,
    junit: Path | None,
    log_level: str,
    log_format: logs.Form,
) -> None:
    """
    Check every site, or each named one, once and now.

    Exits with 0 when all are up, with 1 when one is down or could not be checked.
    """
    loaded = _load(config, log_level, log_format)
    sites = _pick(loaded.sites, names, group, label)
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("checking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    )
    task = progress.add_task("checking", total=len(sites))

    def on_result(result: Result) -> bool:
        progress.advance(task)
        return fail_fast and result.up is False

    with progress:
        results, drained = daemon.check(
            sites, loaded.settings, on_result, connectivity=loaded.connectivity
        )
    up = sum(result.up is True for result in results)
    down = sum(result.up is False for result in results)
    if junit is not None:
        _write_junit(junit, results)
    if as_json:
        document = {
            "up": up,
            "down": down,
            "results": [result_json(result) for result in results],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _console().print(present.results_table(results))
        click.echo(f"{up} up, {down} down, {len(sites) - up - down} not checked")
    _exit(OK if up == len(sites) else DOWN, drained)


@cli.command()
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
@_log_options("error")
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
            _console().print(present.probe_report(result))
    _exit(OK if results and results[0].up else DOWN, drained)


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate(files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """
    Check the configuration, or each FILE by itself, and print every problem with its place.

    Exits with 0 when there is none.
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
            click.echo(f"{sites} sites, no problem")
    sys.exit(BAD if problems else OK)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the site list, for editors."""
    click.echo(json.dumps(json_schema(daemon.TABLES), indent=2, ensure_ascii=False))


@cli.group(name="import")
def import_() -> None:
    """Write what other programs' configurations say in our form."""


@import_.command()
@click.argument("file", type=click.Path(path_type=Path))
def blackbox(file: Path) -> None:
    """Print a blackbox_exporter file as modules of ours; comments say what has no equivalent."""
    click.echo(imported(file), nl=False)


# ---------------------------------------------------------------- what the commands share


def _load(path: Path, log_level: str, log_format: logs.Form) -> Config:
    secrets = logs.Secrets()
    logs.configure(log_level, log_format, secrets)
    config = load(path, daemon.TABLES, os.environ)
    secrets.values = longest_first(config.secrets())
    return config


def _pick(
    sites: Sequence[Site], names: Sequence[str], groups: Sequence[str], labels: Sequence[str]
) -> list[Site]:
    """Return the sites that are asked for; without any wish, all."""
    known = [site.name for site in sites]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no site is named {name!r}{hint}")
    for group in groups:
        if group not in {site.group for site in sites}:
            raise click.UsageError(f"no site is in group {group!r}")
    wanted = set()
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals:
            raise click.UsageError(f"{label!r} is not NAME=VALUE")
        wanted.add((name, value))
    picked = [
        site
        for site in sites
        if (not names or site.name in names)
        and (not groups or site.group in groups)
        and wanted.issubset(site.labels)
    ]
    if not picked:
        raise click.UsageError("no site fits all of these conditions")
    return picked


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


def _write_junit(path: Path, results: Sequence[Result]) -> None:
    """Write what CI servers read: a test case a site, its failure the reason and the sentence."""
    suite = ET.Element(
        "testsuite",
        name="monitor",
        tests=str(len(results)),
        failures=str(sum(result.up is False for result in results)),
        errors=str(sum(result.up is None for result in results)),
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            name=_xml_text(result.site),
            classname="monitor",
            time=f"{result.observation.duration:.6f}",
        )
        if not result.up:
            kind = "error" if result.up is None else "failure"
            ET.SubElement(case, kind, message=_xml_text(present.explain(result)))
    tree = ET.ElementTree(suite)
    try:
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error


def _xml_text(text: str) -> str:
    # XML 1.0 has no way to write control characters, however escaped
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _console() -> Console:
    # Into a file or a pipe no line is cut to the width that a terminal happens to have
    width = None if sys.stdout.isatty() else _UNBOUNDED
    return Console(highlight=False, width=width)


def _exit(code: int, drained: bool) -> NoReturn:
    sys.stdout.flush()  # a full disk is noticed here, while it can still be said
    if not drained:
        daemon.leave(code)
    sys.exit(code)
