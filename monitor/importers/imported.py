"""What every importer produces: our file, its secrets, and what became of each field."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.config.keys import Tables
from monitor.config.load import load_text
from monitor.errors import ConfigError, Problem
from monitor.importers.draft import Fate, ListDraft, ReportLine
from monitor.importers.writing import listed

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_REFERENCE = re.compile(r"\$\{(\w+)")
_LABEL_DEPTH = 4
"""The length of the path of one label: sites, a number, labels, its name."""
_ESCAPED = re.compile(r'([\\"$`])')


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """
    A configuration in our form.

    Attributes:
        text: With a comment on each part that could not be carried.
        rows: What became of each field of the original, in its order.
        secrets: The variables that the text refers to and that stood in the original.
        names: What the other program calls a site, by our name of it.
        problems: What loading the text would report, at the places of the original file.
    """

    text: str
    rows: tuple[ReportLine, ...]
    secrets: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def count(self, fate: Fate) -> int:
        return sum(row.fate is fate for row in self.rows)

    def report(self, source: str) -> str:
        """Return the report as JSON; it holds no secret."""
        document = {
            "from": source,
            "fields": {str(fate): self.count(fate) for fate in Fate},
            "sites": dict(self.names),
            "secrets": sorted(self.secrets),
            **{
                str(fate): [_row_json(row) for row in self.rows if row.fate is fate]
                for fate in Fate
            },
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def environment(self) -> str:
        """Return the secrets as lines that systemd, shells and Compose read: NAME=value."""
        return "".join(f"{name}={_shell(value)}\n" for name, value in self.secrets.items())


def finished(draft: ListDraft, tables: Tables, environ: Mapping[str, str]) -> Imported:
    """
    Return the list as text.

    A site that our loader does not take (a host name with a space) is left out and told, so that
    the rest can be used; a label that it does not take is left out alone. Files that options name
    may be on another machine: they are not looked at.

    Raises:
        ConfigError: No site is left.
    """
    known = _Filled({**environ, **draft.secrets.values})
    while True:
        if not draft.kept:
            said = [f"{one.item}: {one.left_out}" for one in draft.sites]
            message = "; ".join(["holds nothing that can be checked here", *said])
            raise ConfigError([Problem(draft.source, 1, 1, message)])
        try:
            load_text(listed(draft, with_files=False), tables, known)
        except ConfigError as error:
            if not _mended(draft, error):
                raise
        else:
            break
    draft.secrets.keep(referred(listed(draft)))
    names = {one.keys["name"]: one.item for one in draft.kept}
    return Imported(
        text=listed(draft), rows=tuple(draft.rows), secrets=draft.secrets.values, names=names
    )


def referred(text: str) -> set[str]:
    """Return the variables that one of our files refers to."""
    return set(_REFERENCE.findall(text))


class _Filled(dict[str, str]):
    """An environment in which every variable has a value; none need be set for the import."""

    def get(self, name: str, default: str | None = None) -> str:  # type: ignore[override]  # always text
        found = super().get(name, default)
        return "unset" if found is None else found


def _mended(draft: ListDraft, error: ConfigError) -> bool:
    """Leave out the labels and sites that have problems; tell whether there were any."""
    kept = draft.kept
    found = False
    for problem in error.problems:
        path = problem.path
        if len(path) > 1 and path[0] == "sites" and isinstance(path[1], int):
            site = kept[path[1]]
            where = ".".join(map(str, path[2:])) or "url"
            why = problem.message.removeprefix(f"sites[{path[1]}].{where}: ")
            if len(path) == _LABEL_DEPTH and path[2] == "labels":
                del site.keys["labels"][path[3]]
                site.dropped(where, why)
                found = True
            elif site.left_out is None:
                site.leave_out(where, f"{where}: {why}")
                found = True
    return found


def _row_json(row: ReportLine) -> dict[str, str]:
    said = {"of": row.item, "field": row.field, "ours": row.ours, "why": row.why}
    return {key: value for key, value in said.items() if value}


def _shell(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + _ESCAPED.sub(r"\\\1", value) + '"'
