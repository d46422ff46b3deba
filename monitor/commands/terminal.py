"""
Prints results for people at a terminal: a table of checks, one check's phases as a waterfall.

Only the command line uses this; machines get the JSON form of report.py.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from monitor.model import (
    Certificate,
    Observation,
    Phase,
    Result,
    Seconds,
)
from monitor.protocols.facets import facet_of

_BAR = 48
_DAY: Seconds = 86400


def results_table(results: Iterable[Result]) -> Table:
    """Return one row per check, those that are down first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("site", overflow="fold")
    table.add_column("time", justify="right")
    table.add_column("what happened", overflow="fold")
    for result in sorted(results, key=lambda result: result.up is True):
        table.add_row(
            _mark(result),
            Text(result.site),
            Text(milliseconds(result.observation.duration)),
            Text(explain(result)),
        )
    return table


def probe_report(result: Result) -> RenderableType:
    """Return everything one check saw: verdict, waterfall, answer, certificates."""
    seen = result.observation
    parts: list[RenderableType] = [
        Text.assemble(_mark(result), " ", (result.url, "bold"), " ", explain(result)),
        Text(),
        _facts(result),
    ]
    if seen.phases:
        parts += [Text(), _waterfall(seen)]
    chain = result.analysis.chain if result.analysis else ()
    if chain:
        parts += [Text(), _chain(chain, seen.time)]
    if result.excerpt:
        parts += [Text(), Text("body", style="bold"), Text(result.excerpt)]
    return Group(*parts)


def explain(result: Result) -> str:
    """Return the outcome of a check in one line."""
    if result.analysis is None:
        return f"not checked: {result.error}"
    verdict = result.analysis.verdict
    return "up" if verdict.up else f"{verdict.reason}: {verdict.message}"


def milliseconds(seconds: Seconds) -> str:
    return f"{seconds * 1000:,.1f} ms"


def _mark(result: Result) -> Text:
    if result.up is None:
        return Text("ERROR", style="bold yellow")
    return Text("UP", style="bold green") if result.up else Text("DOWN", style="bold red")


def _facts(result: Result) -> Table:
    seen = result.observation
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    rows: list[tuple[str, str | None]] = [("address", seen.address)]
    if seen.tls is not None:
        rows.append(("tls", " ".join(filter(None, (seen.tls.version, seen.tls.cipher))) or None))
    if seen.answer is not None:
        rows += facet_of(seen.answer).rows(seen.answer)
    for one in result.analysis.extracted if result.analysis else ():
        shown = f"not found: {one.why}" if one.value is None else str(one.value)
        rows.append((one.name, shown))
    for name, value in rows:
        if value is not None:
            facts.add_row(Text(name), Text(value))
    return facts


def _waterfall(seen: Observation) -> Table:
    """Return one bar per phase, each of which begins where the previous one ended."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column()
    total = max(sum(seen.phases.values()), 1e-9)
    begun = 0.0
    for phase, seconds in seen.phases.items():
        start = round(begun / total * _BAR)
        begun += seconds
        width = max(1, round(begun / total * _BAR) - start)
        bar = Text(" " * min(start, _BAR - 1)) + Text("█" * width, style=_COLOURS.get(phase, ""))
        table.add_row(Text(str(phase)), Text(milliseconds(seconds)), bar)
    table.add_row(Text("in all"), Text(milliseconds(seen.duration)), Text())
    return table


_COLOURS = {
    Phase.RESOLVE: "cyan",
    Phase.CONNECT: "blue",
    Phase.TLS: "magenta",
    Phase.PROCESSING: "yellow",
    Phase.TRANSFER: "green",
}


def _chain(chain: Sequence[Certificate], now: Seconds) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("certificate", overflow="fold")
    table.add_column("issuer", overflow="fold")
    table.add_column("valid until")
    for certificate in chain:
        days = (certificate.not_after - now) / _DAY
        until = datetime.fromtimestamp(certificate.not_after, UTC).strftime("%Y-%m-%d")
        left = f"{days:,.0f} days left" if days >= 0 else f"ended {-days:,.0f} days ago"
        names = ", ".join(certificate.names[:8])
        if len(certificate.names) > 8:  # noqa: PLR2004  as many as are shown
            names += f" and {len(certificate.names) - 8} more"
        table.add_row(
            Text(names or certificate.subject), Text(certificate.issuer), Text(f"{until} ({left})")
        )
    return table
