"""
The README's reference tables, made from the records that the code works with.

``python -m tests.reference`` puts them into README.md between their marks; test_readme.py compares.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from monitor.analysis.expression import VARIABLES
from monitor.config.keys import SiteKeys
from monitor.config.settings import Settings
from monitor.daemon import TABLES
from monitor.metrics.families import FAMILIES
from monitor.options import Size, show_duration

README = Path(__file__).parent.parent / "README.md"


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
    yield "metrics", _metrics()


def _options(record: type, prefix: str) -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    rows += _rows(record, prefix)
    return "\n".join(rows)


def _rows(record: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(record, include_extras=True)
    for field in dataclasses.fields(record):
        key = prefix + field.name.removesuffix("_")
        inner = _record_in(hints[field.name])
        yield f"| `{key}` | {_default(field, hints[field.name])} | {field.metadata['doc']} |"
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
    if (isinstance(value, float) and "parse_duration" in repr(hint)) or "_at_least" in repr(hint):
        return show_duration(value)
    if hint == Size:
        return f"{value // 1024**2}MiB" if value >= 1024**2 else f"{value}B"
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


def _metrics() -> str:
    rows = ["| series | type | labels | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{family.name}` | {family.type} | {', '.join(f'`{one}`' for one in family.labels)} "
        f"| {family.help} |"
        for family in FAMILIES
    ]
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return the README with every table in its place."""
    for name, table in tables():
        mark = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        place = mark.search(text)
        assert place, f"README.md has no place for the table {name!r}"
        begin, end = place.span()
        text = f"{text[:begin]}<!-- {name} -->\n{table}\n<!-- /{name} -->{text[end:]}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
