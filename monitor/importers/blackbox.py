"""blackbox_exporter's module files as YAML of ours: text, and what the configuration says of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitor.config.blackbox.draft import Translation
from monitor.config.blackbox.reader import BlackboxReader
from monitor.config.forms import Gathered, data_of
from monitor.config.keys import Tables
from monitor.config.modules import ModuleReader
from monitor.config.nodes import MappingNode, Node, SequenceNode
from monitor.config.problems import KeyPath, Problems, Source
from monitor.config.schema import Decoder, Forms
from monitor.config.sites import SiteReader
from monitor.errors import ConfigError, Problem

_WIDTH = 100_000
"""No line is broken, so that each can be indented."""


class _Dumper(yaml.SafeDumper):
    """Writes texts with line ends in quotes that have escapes for them."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        plain = "\n" not in text
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


@dataclass(frozen=True, slots=True)
class Imported:
    """
    The modules of a file as YAML of ours.

    Attributes:
        text: With a comment on each key that has no equivalent.
        problems: What loading the text would report, at the places of the original file.
    """

    text: str
    problems: tuple[Problem, ...]


def imported(path: Path, tables: Tables) -> Imported:
    """
    Return the modules of a file, written as ours.

    Raises:
        ConfigError: The file has problems, or holds no module that could be written.
    """
    problems = Problems()
    decoder = Decoder(problems)
    reader = BlackboxReader(decoder, problems)
    source = Source(path, str(path))
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
    return Imported(_written(path.name, translations), problems.all())


def _written(name: str, translations: Iterable[Translation]) -> str:
    lines = [f"# From {name} of blackbox_exporter.", "modules:"]
    for one in translations:
        lines.append("")
        lines += [f"  # {_shown(remark.path[2:])}: {remark.text}" for remark in one.remarks]
        if one.node is None:
            lines.append(f"  # {one.name} is left out.")
            continue
        text = yaml.dump(
            {one.name: _writable(one.node)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
        )
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _shown(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _writable(node: Node) -> Any:
    """Return the node as plain data that means the same where dollars are special."""
    if isinstance(node, MappingNode):
        return {key: _writable(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [_writable(item) for item in node.items]
    done = node.substitution
    if done and done.written.startswith("${file:"):
        return done.written
    value = data_of(node, Gathered())
    return str(value).replace("$", "$$") if isinstance(value, str) else value
