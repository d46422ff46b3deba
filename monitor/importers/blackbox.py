"""Turns blackbox_exporter's module files into our YAML, with the problems of loading it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from monitor.config.blackbox.draft import Translation
from monitor.config.blackbox.reader import BlackboxReader
from monitor.config.decoder import Decoder, Forms
from monitor.config.forms import SecretsAndFiles, data_of
from monitor.config.keys import Tables
from monitor.config.modules import ModuleReader
from monitor.config.nodes import MappingNode, Node, Scalar, SequenceNode
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.sites import SiteReader
from monitor.errors import ConfigError
from monitor.importers.draft import Fate, ReportLine, SecretVariables, written
from monitor.importers.imported import Imported
from monitor.importers.writing import Dumper
from monitor.secrecy import HIDDEN, is_sensitive_header

_SECRET_KEYS = ("password", "bearer_token", "client_secret")
_URLS = ("proxy", "token_url", "url")
_WIDTH = 100_000
"""No line is wrapped, so that each can be indented."""


def imported(path: Path, tables: Tables) -> Imported:
    """
    Return the modules of a file in our form, with everything that loading them would report.

    Raises:
        ConfigError: The file has problems, or contains no module that could be written.
    """
    problems = Problems()
    decoder = Decoder(problems)
    reader = BlackboxReader(decoder, problems)
    source = YamlFile(path, str(path))
    translations = list(reader.read(source))
    if not (problems or any(one.node for one in translations)):
        problems.at(source.shown, "has no module that can be written in this monitor's form")
    if problems:
        raise ConfigError(problems.all(), reader.files)
    forms = Forms.of(tables)
    sites = SiteReader(tables, forms, decoder, problems)
    modules = ModuleReader(tables, forms, decoder, problems, sites)
    for one in translations:
        for remark in one.remarks:
            if remark.missing:
                problems.add(remark.node, remark.path, remark.text)
        if one.node:
            with problems.told_as(one.origins):
                modules.read(one.name, one.node, ("modules", one.name))
    secrets = SecretVariables()
    return Imported(
        text=_written(path.name, translations, secrets),
        rows=tuple(row for one in translations for row in _rows(one)),
        secrets=secrets.values,
        problems=problems.all(),
    )


def _rows(one: Translation) -> Iterator[ReportLine]:
    """Yield what became of each key of a module; keys that mean the same have no key of ours."""
    for ours, theirs in one.origins.items():
        yield ReportLine(one.name, _shown(theirs[2:]), Fate.CARRIED, _shown(ours[2:]))
    for remark in one.remarks:
        yield ReportLine(one.name, _shown(remark.path[2:]), Fate.DROPPED, why=remark.text)


def _written(name: str, translations: Iterable[Translation], secrets: SecretVariables) -> str:
    lines = [f"# From {name} of blackbox_exporter.", "modules:"]
    for one in translations:
        lines.append("")
        lines += [f"  # {_shown(remark.path[2:])}: {remark.text}" for remark in one.remarks]
        if one.node is None:
            lines.append(f"  # {one.name} is left out.")
            continue
        text = yaml.dump(
            {one.name: _writable(one.node, secrets, (one.name,))},
            Dumper=Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
        )
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _shown(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _writable(node: Node, secrets: SecretVariables, path: tuple[str, ...]) -> Any:
    """Return the node as plain data, with dollars escaped where they are special."""
    if isinstance(node, MappingNode):
        return {
            key: _writable(entry.value, secrets, (*path, key))
            for key, entry in node.entries.items()
        }
    if isinstance(node, SequenceNode):
        return [_writable(item, secrets, path) for item in node.items]
    done = node.substitution
    if done and done.written.startswith("${file:"):
        return done.written
    value = data_of(node, SecretsAndFiles())
    if not isinstance(value, str):
        return value
    if _is_secret(node, path):
        value = secrets.hide(value, path[0], path[-1])
    elif path[-1] in _URLS:
        value = secrets.in_url(value, path[0])
    return written(value)


def _is_secret(node: Scalar, path: tuple[str, ...]) -> bool:
    if node.substitution is not None and node.substitution.written == HIDDEN:
        return bool(node.text)
    if path[-2:-1] == ("headers",):
        return is_sensitive_header(path[-1])
    return path[-1] in _SECRET_KEYS and bool(node.text)
