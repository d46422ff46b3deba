"""
``python -m tools.reference``: fills the tables of docs/reference/ from the code.

Each table stands between marks of its name, ``<!-- site -->`` and ``<!-- /site -->``, on one of the
pages; so does the list of decisions in docs/decisions/. tests/test_reference.py compares.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from prometheus_client.parser import text_string_to_metric_families

from monitor.analysis.expression import VARIABLES
from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.forms import documentation, marks
from monitor.config.keys import SiteKeys, SourceKeys
from monitor.config.settings import Settings
from monitor.metrics.families import FAMILIES
from monitor.metrics.internal import Internal
from monitor.metrics.places import PlaceMeters
from monitor.options import Parsed
from monitor.places import Standing
from tools.prose import reflow

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
DECISIONS = FOLDER.parent / "decisions"


def tables() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each table."""
    yield "site", _options(SiteKeys, "")
    sections: dict[str, tuple[type, list[str]]] = {}
    for scheme, kind in TABLES.probes.items():
        for key, record in kind.sections.items():
            sections.setdefault(key, (record, []))[1].append(f"`{scheme}`")
    for key, (record, _) in sections.items():
        yield key, _options(record, f"{key}.")
    yield "expect", _expectations()
    yield "variables", _variables()
    yield "readings", _readings()
    yield "settings", _options(Settings, "")
    yield "sources", _sources()
    yield "metrics", _metrics()
    yield "daemon", _daemon()
    yield "commands", "\n\n".join(_commands(cli, "monitor"))
    yield "decisions", _decisions()


def _options(record: type, prefix: str) -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    rows += _rows(record, prefix)
    return "\n".join(rows)


def _rows(record: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        key = prefix + field.name.removesuffix("_")
        hint = hints[field.name]
        inner = _record_in(hint)
        yield f"| `{key}` | {_default(field, hint)} | {documentation(field, hint)} |"
        if inner is not None:
            yield from _rows(inner, f"{key}.")


def _record_in(hint: Any) -> type | None:
    for one in (hint, *get_args(hint)):
        if isinstance(one, type) and dataclasses.is_dataclass(one):
            return one
    return None


def _default(field: Any, hint: Any) -> str:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default
    if value is dataclasses.MISSING or value is None or dataclasses.is_dataclass(value):
        return ""
    return f"`{_shown(value, hint)}`" if value not in ((), "") else ""


def _shown(value: Any, hint: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    for mark in marks(hint):
        if isinstance(mark, Parsed) and mark.show is not None:
            return str(mark.show(value))
    if isinstance(value, tuple):
        return (
            "["
            + ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
            + "]"
        )
    return str(value)


def _expectations() -> str:
    rows = ["| key | for | reason | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{key}` | {', '.join(sorted(kind.protocols))} | `{kind.reason}` | {kind.doc} |"
        for key, kind in TABLES.expectations.items()
    ]
    return "\n".join(rows)


def _variables() -> str:
    rows = ["| variable | for | what it is |", "| --- | --- | --- |"]
    for name, variable in VARIABLES.items():
        protocols = ", ".join(sorted(variable.protocols)) or "all"
        rows.append(f"| `{name}` | {protocols} | {variable.doc[0].upper()}{variable.doc[1:]}. |")
    return "\n".join(rows)


def _readings() -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for key, kind in TABLES.readings.items():
        rows.append(f"| `{key}` |  | {kind.doc} |")
        mapping = next(iter(get_args(kind.shape)), None)  # Annotated[Mapping[str, record], …]
        if mapping is None:
            rows += _rows(kind.shape, f"{key}.")
        else:
            rows += _rows(get_args(mapping)[1], f"{key}.NAME.")
    return "\n".join(rows)


def _sources() -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |", *_rows(SourceKeys, "")]
    rows.append("| `defaults` |  | Any key of a site; over the defaults of the file. |")
    for kind, one in TABLES.sources.items():
        rows.append(f"| `{kind}` |  | {one.doc} |")
        rows += _rows(one.options, f"{kind}.")
    return "\n".join(rows)


def _metrics() -> str:
    rows = ["| series | type | labels | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{family.name}` | {family.type} | {', '.join(f'`{one}`' for one in family.labels)} "
        f"| {family.help} |"
        for family in FAMILIES
    ]
    return "\n".join(rows)


def _daemon() -> str:
    internal = Internal(version="1", libcurl="8")
    internal.discovery_read("NAME", 0, 0)  # a series without samples shows no labels
    meters = PlaceMeters(internal)
    meters.reports("NAME", 0, 0.0)
    meters.late("NAME")
    meters.unlisted("NAME")
    meters.location(Standing(location="NAME"))
    text = internal.exposition(openmetrics=False).decode()
    rows = ["| series | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in text_string_to_metric_families(text):
        if family.name.startswith("monitor_"):
            name = family.name + "_total" * (family.type == "counter")
            labels = dict.fromkeys(label for one in family.samples for label in one.labels)
            shown = ", ".join(f"`{label}`" for label in labels if label != "le")
            rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(rows)


def _commands(command: click.Command, path: str) -> Iterator[str]:
    """Yield what --help says of each command, as Markdown."""
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            yield from _commands(inner, f"{path} {name}")
        return
    parameters = [
        one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)
    ]
    lines = [f"### {' '.join([path, *parameters])}", ""]
    lines += reflow(inspect.cleandoc(command.help or "")).splitlines()
    options = [_option(one, context) for one in command.params if isinstance(one, click.Option)]
    if options:
        lines += ["", "| option | default | meaning |", "| --- | --- | --- |", *options]
    yield "\n".join(lines)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    form = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    extra = option.get_help_extra(context)
    defaults = [f"`${name}`" for name in extra.get("envvars", ())]
    if shown := extra.get("default"):
        defaults.append(f"`{shown}`")
    cells = (f"{names}{form}", ", else ".join(defaults), option.help or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _decisions() -> str:
    rows = ["| number | decision | date |", "| --- | --- | --- |"]
    for path in sorted(DECISIONS.glob("0*.md")):
        heading, _, date, *_ = path.read_text().splitlines()
        number, title = heading.removeprefix("# ").split(". ", maxsplit=1)
        rows.append(f"| {number} | [{title}]({path.name}) | {date.removeprefix('Date: ')} |")
    return "\n".join(rows)


def filled(pages: Mapping[Path, str]) -> dict[Path, str]:
    """Return these pages with every table in its place; each has exactly one."""
    new = dict(pages)
    for name, table in tables():
        mark = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        places = [path for path, text in new.items() if mark.search(text)]
        if len(places) != 1:
            raise SystemExit(
                f"the table {name!r} has {len(places)} places instead of one; write the lines"
                f" <!-- {name} --> and <!-- /{name} --> once, where it belongs in docs/reference"
            )
        [page] = places
        before, _, rest = new[page].partition(f"<!-- {name} -->")
        after = rest.partition(f"<!-- /{name} -->")[2]
        new[page] = f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}"
    return new


def pages() -> dict[Path, str]:
    """Return the pages that have such tables as they are on disk."""
    paths = [*sorted(FOLDER.glob("*.md")), DECISIONS / "index.md"]
    return {path: path.read_text() for path in paths}


if __name__ == "__main__":
    for path, text in filled(pages()).items():
        path.write_text(text)
