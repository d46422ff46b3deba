"""The results of a benchmark run, for people and as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitor.model import Seconds
from tests.bench.figures import Figure, Goal
from tests.bench.lab import Effort
from tests.bench.rows import Row

_WIDTH = 160  # if the output is not a terminal
_MARKS = {True: "met", False: "short", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    The outcome of a row.

    Attributes:
        took_part: Programs that were started for it, and the version of each.
        skipped: Why it was not measured; empty if it was.
        failed: Why figures are missing; empty if all are there.
    """

    row: Row
    figures: tuple[Figure, ...] = ()
    took_part: Mapping[str, str] = field(default_factory=dict)
    skipped: str = ""
    failed: str = ""
    took: Seconds = 0


def as_json(
    outcomes: Iterable[Outcome], machine: Mapping[str, str], effort: Effort
) -> dict[str, Any]:
    """Return a run in the form of ``--json``; ``met`` is null for a figure without a goal."""
    return {
        "machine": dict(machine),
        "effort": asdict(effort),
        "rows": [_row_json(outcome) for outcome in outcomes],
    }


def _row_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.row.name,
        "what": outcome.row.what,
        "skipped": outcome.skipped or None,
        "failed": outcome.failed or None,
        "took_seconds": outcome.took,
        "took_part": dict(outcome.took_part),
        "figures": [
            {
                **asdict(figure),
                "goal": asdict(goal) if goal else None,
                "met": goal.met(figure.value) if goal else None,
            }
            for figure in outcome.figures
            for goal in (outcome.row.goals.get(figure.name),)
        ],
    }


def show(outcomes: Iterable[Outcome], machine: Mapping[str, str]) -> None:
    """Print a run as a table, with the goals beside the figures."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    for name, value in machine.items():
        console.print(f"{name:30}{value}", highlight=False)
    table = Table("row", "figure", "measured", "goal", "", "detail")
    for outcome in outcomes:
        table.add_section()
        lines = [_line(figure, outcome.row.goals.get(figure.name)) for figure in outcome.figures]
        if outcome.skipped:
            lines.append(("", "", "", "skipped", outcome.skipped))
        if outcome.failed:
            lines.append(("", "", "", "failed", outcome.failed))
        if outcome.took_part:
            said = "; ".join(f"{name}: {version}" for name, version in outcome.took_part.items())
            lines.append(("", "", "", "", said))
        for number, line in enumerate(lines):
            table.add_row("" if number else outcome.row.name, *map(escape, line))
    console.print(table)


def _line(figure: Figure, goal: Goal | None) -> tuple[str, str, str, str, str]:
    wanted = f"{goal.sense} {goal.limit:,g}" if goal else ""
    mark = _MARKS[goal.met(figure.value) if goal else None]
    measured = f"{_number(figure.value)} {figure.unit}".rstrip()
    return figure.name, measured, wanted, mark, figure.detail


def _number(value: float) -> str:
    """Return three significant digits without an exponent: 0.413, 12.6, 1,734."""
    if value == 0:
        return "0"
    whole = len(str(int(abs(value))))
    return f"{value:,.{max(0, 3 - whole)}f}" if abs(value) >= 1 else f"{value:.3f}"
