"""``monitor report``: how available sites were in a month, and every outage."""

import html
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from monitor.app.keeping import data_folder
from monitor.app.memory import open_history
from monitor.app.tables import TABLES
from monitor.commands.options import config_option, data_option
from monitor.commands.output import console
from monitor.config.load import load
from monitor.model import Timestamp
from monitor.naming import natural_key
from monitor.past import Span, Uptime
from monitor.report import csv_lines, moment
from monitor.web.words import NO_DATA, show_coverage, show_ratio, show_span

METHOD = (
    "Uptime is the time a site was up, divided by the time it was up or down, in seconds of its"
    " confirmed state. An outage begins with the first failed check of those that confirmed it and"
    " ends with the check that confirmed the recovery. Maintenance, time in which the monitor could"
    " not tell, and time in which no monitor ran count as neither. Coverage is the time that is"
    " counted, divided by the whole time of the report: of the rest this report says nothing."
)
_BUDGET = (
    "Budget spent is the downtime, divided by what the objective allows of the time that is"
    " counted."
)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class _SiteLine:
    """What the report says about a site."""

    name: str
    group: str
    uptime: Uptime
    objective: float

    @property
    def spent(self) -> float | None:
        """The used share of the error budget, above 1 if the objective is missed."""
        allowed = (1 - self.objective / 100) * (self.uptime.up + self.uptime.down)
        return self.uptime.down / allowed if allowed > 0 else None


def _moment_of(_: click.Context, __: click.Parameter, text: str | None) -> Timestamp | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter("write a time such as 2026-10-01 or 2026-10-01T12:00Z") from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _month_of(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and not _MONTH.fullmatch(text):
        raise click.BadParameter("write a month such as 2026-10")
    return text


@click.command()
@config_option
@data_option
@click.option("--month", callback=_month_of, help="A month such as 2026-10, in UTC.")
@click.option("--from", "begin", callback=_moment_of, metavar="TIME", help="Its start.")
@click.option("--to", "end", callback=_moment_of, metavar="TIME", help="Its end; by default now.")
@click.option(
    "--objective",
    type=click.FloatRange(0, 100, max_open=True),
    default=99.9,
    show_default=True,
    help="What was promised, in percent.",
)
@click.option("--group", multiple=True, help="Only sites of this group; may be repeated.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file as CSV instead.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to this file as a web page instead.",
)
def report(
    config: Path,
    data: str | None,
    month: str | None,
    begin: Timestamp | None,
    end: Timestamp | None,
    objective: float,
    group: tuple[str, ...],
    csv_file: Path | None,
    html_file: Path | None,
) -> None:
    """
    Report how available sites were: uptime, coverage, budget spent, every outage.

    Covers a month, the time between --from and --to, or the last 30 days.
    """
    if month and (begin is not None or end is not None):
        raise click.UsageError("say either --month or --from and --to")
    first, last = _month(month) if month else _stretch(begin, end)
    reader = open_history(
        data_folder(data, os.environ), load(config, TABLES, os.environ).settings.history
    )
    try:
        groups = {one.name: one.group for one in reader.listing()}
        names = [name for name in sorted(groups, key=natural_key) if _wanted(groups[name], group)]
        found = reader.uptime(names, first, last)
        lines = [_SiteLine(name, groups[name], found[name], objective) for name in names]
        # A site that left the list earlier is not reported; one that was listed but not seen is
        gone = {one.name for one in reader.listing() if one.removed and one.removed < first}
        lines = [line for line in lines if line.name not in gone]
        outages = reader.outages([line.name for line in lines], first, last)
    finally:
        reader.close()
    if csv_file:
        _write_csv(csv_file, lines, outages, first, last)
    if html_file:
        _write(html_file, "".join(_html(lines, outages, first, last, objective)))
    if not (csv_file or html_file):
        _print(lines, outages, first, last, objective)


def _wanted(its: str, groups: tuple[str, ...]) -> bool:
    return not groups or its in groups


def _month(text: str) -> tuple[Timestamp, Timestamp]:
    begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    if begin >= datetime.now(UTC):
        raise click.UsageError(f"the month {text} has not begun; name an earlier one")
    end = (begin + timedelta(days=32)).replace(day=1)
    return begin.timestamp(), min(end, datetime.now(UTC)).timestamp()


def _stretch(begin: Timestamp | None, end: Timestamp | None) -> tuple[Timestamp, Timestamp]:
    last = datetime.now(UTC).timestamp() if end is None else end
    first = last - 30 * 86400 if begin is None else begin
    if first >= last:
        raise click.UsageError("--from must be earlier than --to")
    return first, last


# ---------------------------------------------------------------- three output formats


def _print(
    lines: list[_SiteLine],
    outages: list[Span],
    first: Timestamp,
    last: Timestamp,
    objective: float,
) -> None:
    terminal = console()
    terminal.print(f"From {moment(first)} to {moment(last)}, objective {objective:g} %")
    table = Table(box=box.SIMPLE)
    for title in ("site", "group"):
        table.add_column(title)
    for title in ("uptime", "of observed", "down", "outages", "budget spent"):
        table.add_column(title, justify="right")
    for line in lines:
        table.add_row(*_cells(line))
    terminal.print(table)
    if outages:
        listed = Table(box=box.SIMPLE)
        for title in ("begin", "end", "length", "site", "reason", "message"):
            listed.add_column(title)
        for one in outages:
            listed.add_row(*_outage_cells(one, last))
        terminal.print(listed)
    terminal.print(f"{METHOD} {_BUDGET}")


def _html(
    lines: list[_SiteLine],
    outages: list[Span],
    first: Timestamp,
    last: Timestamp,
    objective: float,
) -> Iterator[str]:
    title = f"Availability from {moment(first)} to {moment(last)}"
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>body{{font:1rem/1.5 system-ui,sans-serif;margin:2rem}}"
        "table{border-collapse:collapse}th,td{padding:.25rem .75rem;text-align:left;"
        "border-bottom:1px solid #8888}td{font-variant-numeric:tabular-nums}</style></head><body>"
        f"<h1>{title}</h1><p>Objective: {objective:g} %</p>"
    )
    heads = ["Site", "Group", "Uptime", "Of observed", "Down", "Outages", "Budget spent"]
    yield from _html_table("Sites", heads, map(_cells, lines))
    heads = ["Begin", "End", "Length", "Site", "Reason", "Message"]
    if outages:
        yield from _html_table("Outages", heads, (_outage_cells(one, last) for one in outages))
    else:
        yield "<h2>Outages</h2><p>None.</p>"
    yield f"<h2>How it is counted</h2><p>{METHOD} {_BUDGET}</p></body></html>\n"


def _html_table(title: str, heads: Iterable[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"<h2>{title}</h2><table><thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>\n"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
    yield "</tbody></table>"


def _write_csv(
    path: Path, lines: list[_SiteLine], outages: list[Span], first: Timestamp, last: Timestamp
) -> None:
    columns = (
        *("kind", "site", "group", "begin", "end", "uptime", "coverage", "up_seconds"),
        *("down_seconds", "outages", "budget_spent", "reason", "message"),
    )
    window = {"begin": moment(first), "end": moment(last)}
    rows: list[dict[str, Any]] = [
        {
            "kind": "site",
            "site": line.name,
            "group": line.group,
            **window,
            "uptime": line.uptime.ratio,
            "coverage": line.uptime.coverage,
            "up_seconds": line.uptime.up,
            "down_seconds": line.uptime.down,
            "outages": line.uptime.outages,
            "budget_spent": line.spent,
        }
        for line in lines
    ]
    rows += [
        {
            "kind": "outage",
            "site": one.site,
            "begin": moment(one.begin),
            "end": "" if one.end is None else moment(one.end),
            "down_seconds": (last if one.end is None else one.end) - one.begin,
            "reason": one.reason,
            "message": one.message,
        }
        for one in outages
    ]
    rows.append({"kind": "method", **window, "message": f"{METHOD} {_BUDGET}"})
    _write(path, "".join(csv_lines(columns, rows)))


def _write(path: Path, text: str) -> None:
    try:
        # Line ends stay as they are, because CSV has its own
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error


def _cells(line: _SiteLine) -> list[str]:
    uptime = line.uptime
    return [
        line.name,
        line.group,
        NO_DATA if uptime.ratio is None else show_ratio(uptime.ratio),
        show_coverage(uptime.coverage),
        show_span(uptime.down) if uptime.down else "",
        str(uptime.outages or ""),
        "" if line.spent is None else f"{line.spent:.0%}",
    ]


def _outage_cells(one: Span, last: Timestamp) -> list[str]:
    return [
        moment(one.begin),
        "" if one.end is None else moment(one.end),
        show_span((last if one.end is None else one.end) - one.begin),
        one.site,
        one.reason or "",
        one.message,
    ]
