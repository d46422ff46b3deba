"""Builds one of our modules from one of blackbox_exporter's, with remarks on the rest."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.config.files import read_text
from monitor.config.nodes import KeyValue, MappingNode, Node, Scalar, SequenceNode
from monitor.config.problems import KeyPath
from monitor.config.substitute import Substitution
from monitor.options import parse_duration, show_duration
from monitor.secrecy import HIDDEN
from monitor.units import Seconds


@dataclass(frozen=True, slots=True)
class Remark:
    """
    A part of a module that ours cannot express: its place, and the reason.

    Attributes:
        missing: Whether a file that every check needs cannot be read.
        wrong: Whether blackbox_exporter has the same problem with it.
    """

    node: Node
    path: KeyPath
    text: str
    missing: bool = False
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Translation:
    """
    One module in our form.

    Attributes:
        written: The node of its key in the file.
        node: The module; None if it has no equivalent at all.
        files: The node holds the content of these files.
        origins: For each path of the node, the path of the file that it comes from.
    """

    name: str
    written: Node
    node: MappingNode | None
    remarks: tuple[Remark, ...]
    files: tuple[Path, ...]
    origins: Mapping[KeyPath, KeyPath]


class Draft:
    """A module while it is being written; its nodes, remarks and files change."""

    def __init__(self, written: Node, path: KeyPath) -> None:
        self._written = written
        self._path = path
        self._top = MappingNode(written.source, written.line, written.column)
        self._remarks: list[Remark] = []
        self._files: list[Path] = []
        self._origins: dict[KeyPath, KeyPath] = {}
        self._impossible = False

    def at(self, *keys: str | int) -> Node:
        """Return the node of the file at these keys, or the nearest one above it."""
        node = self._written
        for key in keys:
            if isinstance(node, MappingNode) and key in node.entries:
                node = node.entries[str(key)].value
            elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.items):
                node = node.items[key]
            else:
                break
        return node

    def put(self, where: str, value: Any, *keys: str | int) -> None:
        """
        Write a value below a key of ours such as ``http.method``.

        Args:
            keys: Its place in the file.
        """
        *sections, last = where.split(".")
        mapping, at = self._top, self.at(*keys)
        for section in sections:
            if section not in mapping.entries:
                below = MappingNode(at.source, at.line, at.column)
                mapping.entries[section] = KeyValue(scalar(section, at), below)
            inner = mapping.entries[section].value
            assert isinstance(inner, MappingNode)  # noqa: S101  made here
            mapping = inner
        mapping.entries[last] = KeyValue(scalar(last, at), _node(value, at))
        self._origins[*self._path, *sections, last] = (*self._path, *keys)

    def remark(self, text: str, *keys: str | int) -> None:
        self._remarks.append(Remark(self.at(*keys), (*self._path, *keys), text))

    def wrong(self, text: str, *keys: str | int) -> None:
        """Note a mistake at these keys."""
        self._remarks.append(Remark(self.at(*keys), (*self._path, *keys), text, wrong=True))

    def fails(self, text: str, *keys: str | int) -> None:
        """Note why no check of this module can succeed in blackbox_exporter."""
        self.remark(f"{text}, so that each check fails in blackbox_exporter", *keys)

    def some(self, where: str, values: Collection[Any], text: str, *keys: str | int) -> None:
        """Write these values; if there are none, note why no check can succeed."""
        if values:
            self.put(where, values, *keys)
        else:
            self.fails(text, *keys)

    def give_up(self, text: str, *keys: str | int) -> None:
        """Note why this module cannot be translated."""
        self.remark(text, *keys)
        self._impossible = True

    def file(self, path: str, *keys: str | int) -> Node:
        """Return a secret that is read from a file, stripped."""
        at = self.at(*keys)
        place = at.source.path.parent / path
        try:
            text = read_text(place).strip()
        except ValueError as error:
            self._remarks.append(Remark(at, (*self._path, *keys), str(error), missing=True))
            text = ""
        self._files.append(place)
        done = Substitution(f"${{file:{path}}}", HIDDEN, (text,) if text else ())
        return Scalar(at.source, at.line, at.column, text, substitution=done)

    def secret(self, text: str, *keys: str | int) -> Node:
        """Return a text that is masked everywhere."""
        at = self.at(*keys)
        done = Substitution(HIDDEN, HIDDEN, (text,) if text else ())
        return Scalar(at.source, at.line, at.column, text, substitution=done)

    def finished(self, name: str, written: Node) -> Translation:
        node = None if self._impossible else self._top
        return Translation(
            name, written, node, tuple(self._remarks), tuple(self._files), self._origins
        )


SHORTEST: Seconds = 0.001


def shown_timeout(seconds: Seconds) -> str:
    shown = show_duration(seconds)
    return shown if math.isclose(parse_duration(shown), seconds) else f"{seconds:.9f}s"


def scalar(text: str, at: Node, *, plain: bool = False) -> Scalar:
    return Scalar(at.source, at.line, at.column, text, plain)


def _node(value: Any, at: Node) -> Node:
    if isinstance(value, Scalar | SequenceNode | MappingNode):
        return value
    if isinstance(value, bool):
        return scalar(str(value).lower(), at, plain=True)
    if isinstance(value, int | float):
        return scalar(str(value), at, plain=True)
    if isinstance(value, str):
        return scalar(value, at)
    if isinstance(value, Mapping):
        entries = {key: KeyValue(scalar(key, at), _node(one, at)) for key, one in value.items()}
        return MappingNode(at.source, at.line, at.column, entries)
    return SequenceNode(at.source, at.line, at.column, [_node(one, at) for one in value])
