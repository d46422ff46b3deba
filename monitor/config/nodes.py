"""
YAML as nodes that know their place, so that pydantic's errors and our own can name it.

The nodes are created from the parser's events and not by yaml.compose, for four reasons: compose
recurses in C, so deep nesting crashes the process; it silently keeps the last of two equal keys; it
creates six objects for each scalar, and one is enough; and other threads get their turn between two
events.

Plain scalars have the types of YAML 1.2, as in editors: ``yes``, ``no``, ``on`` and ``12:30`` are
texts.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn, TypeAlias

import yaml

from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.substitute import Substitution

DEEPEST = 50
"""Levels of nesting; people need six."""
_SHOWN_LEVELS = 3
_EXPANSION = 20
"""How many times larger aliases may make a document than it is written…"""
_EXPANSION_FREE = 100_000
"""… beyond this many nodes, which take well under a second."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where a node begins; lines and columns count from 1."""

    source: YamlFile
    line: int
    column: int

    @property
    def place(self) -> str:
        """As in messages: ``file:line:column``."""
        return f"{self.source.shown}:{self.line}:{self.column}"


@dataclass(slots=True, eq=False)
class Scalar(_Place):
    """
    A text, or the value that YAML's rules give it if it is plain.

    Attributes:
        text: After substitution.
        plain: Written without quotes, so that ``5`` is a number.
        substitution: What was substituted; None if the text held no ``$``.
    """

    text: str
    plain: bool = False
    substitution: Substitution | None = None
    weight: ClassVar[int] = 1
    height: ClassVar[int] = 0


@dataclass(slots=True, eq=False)
class SequenceNode(_Place):
    """
    A list.

    Attributes:
        weight: How many nodes it has in total, aliases expanded.
        height: How many levels are below it.
    """

    items: list["Node"] = field(default_factory=list)
    weight: int = 1
    height: int = 1


@dataclass(slots=True, eq=False)
class MappingNode(_Place):
    """Keys with their values; weight and height as in SequenceNode."""

    entries: dict[str, "KeyValue"] = field(default_factory=dict)
    weight: int = 1
    height: int = 1


@dataclass(slots=True, eq=False)
class KeyValue:
    """
    One key and its value.

    Attributes:
        inherited: Whether it comes from ``defaults``.
    """

    key: Scalar
    value: "Node"
    inherited: bool = False


Node: TypeAlias = Scalar | SequenceNode | MappingNode
Reading: TypeAlias = str | int | float | bool | None

# ---------------------------------------------------------------- the types of plain scalars

_WORDS: dict[str, Reading] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TYPED_START = frozenset("+-.0123456789")
# Bounded, because int() rejects more than 4,300 digits; no setting needs so many
_INTEGER = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,4})?"
)
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)")


def read_plain(text: str) -> Reading:
    """Return the value of a plain scalar by the core rules of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _TYPED_START:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL_FLOAT.fullmatch(text):
        return float(special[1] + ("inf" if special[2] else "nan"))
    return text


def is_empty(node: Node) -> bool:
    """Return whether the value is empty: ``key:`` alone, or null."""
    if not isinstance(node, Scalar) or node.substitution:
        return False
    return node.plain and read_plain(node.text) is None


# ---------------------------------------------------------------- walking and overlaying


def scalars(node: Node) -> Iterator[Scalar]:
    """Yield every value below a node, and the node itself if it is a value."""
    if isinstance(node, Scalar):
        yield node
        return
    below = (
        node.items
        if isinstance(node, SequenceNode)
        else [entry.value for entry in node.entries.values()]
    )
    for child in below:
        yield from scalars(child)


def overlay(below: MappingNode, above: MappingNode) -> MappingNode:
    """
    Return one mapping with the keys of both.

    If both have a key, two mappings are overlaid in the same way, and any other value above
    replaces the one below. A value that only one of them has stays the same node.
    """
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        under = entries.get(key)
        if under and isinstance(under.value, MappingNode) and isinstance(entry.value, MappingNode):
            entries[key] = KeyValue(entry.key, overlay(under.value, entry.value))
        else:
            entries[key] = entry
    return MappingNode(above.source, above.line, above.column, entries)


def inherited(node: MappingNode) -> MappingNode:
    """Return the mapping with every entry marked as a default."""
    entries = {
        key: KeyValue(
            entry.key,
            inherited(entry.value) if isinstance(entry.value, MappingNode) else entry.value,
            inherited=True,
        )
        for key, entry in node.entries.items()
    }
    return MappingNode(node.source, node.line, node.column, entries)


# ---------------------------------------------------------------- composing

Substitute: TypeAlias = Callable[[Scalar, KeyPath], None]
"""Replaces the references in a scalar, and reports those that lead nowhere."""

_TAGS = {
    "tag:yaml.org,2002:" + name
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")
}
_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE = "<<"


@dataclass(slots=True)
class _Frame:
    """A collection that is not complete yet; ``key`` is the key of the next value."""

    node: SequenceNode | MappingNode
    anchor: str | None
    key: Scalar | None = None
    keyed: bool = False
    merged: list[MappingNode] = field(default_factory=list)


class _AbandonedError(Exception):
    """The rest of the file cannot be read; the problem has been reported."""


class Composer:
    """
    Creates the nodes of one file from the parser's events; the mutable state is the stack.

    Attributes:
        first_key: A top-level key of such files, for messages.
    """

    first_key: ClassVar[str] = "sites"

    def __init__(self, source: YamlFile, problems: Problems, substitute: Substitute) -> None:
        self._source = source
        self._problems = problems
        self._substitute = substitute
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._written = 0
        self._expanded = 0
        self._root: Node | None = None

    def compose(self, data: bytes) -> Node | None:
        """Return the file's content; None if it is empty, or bad, which is reported."""
        try:
            for event in yaml.parse(data, Loader=yaml.CSafeLoader):
                self._take(event)
        except _AbandonedError:
            return None
        except yaml.YAMLError as error:
            self._report_syntax(error, data)
            return None
        return self._root

    # -- events

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._open(event, MappingNode(self._source, *place_of(event)))
            case yaml.SequenceStartEvent():
                self._open(event, SequenceNode(self._source, *place_of(event)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if self._root is not None:
                self._abandon(event, "a second document begins here; a file holds only one")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        plain = bool(event.implicit[0]) or event.tag not in (None, "!", _TEXT_TAG)
        self._check_tag(event)
        self._add_scalar(event, Scalar(self._source, *place_of(event), event.value, plain))

    def _add_scalar(self, event: yaml.ScalarEvent, node: Scalar) -> None:
        if event.anchor:
            self._anchors[event.anchor] = node
        self._written += 1
        self._attach(node)

    def _open(self, event: yaml.CollectionStartEvent, node: SequenceNode | MappingNode) -> None:
        self._check_tag(event)
        if len(self._stack) >= DEEPEST:
            self._abandon_too_deep(event)
        if event.anchor:
            # An alias to it that comes before its end would be endless; see _alias
            self._anchors.pop(event.anchor, None)
        self._written += 1
        self._stack.append(_Frame(node, event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        node = frame.node
        if isinstance(node, MappingNode) and frame.merged:
            node.entries = _merge(node, frame.merged)
        if frame.anchor:
            self._anchors[frame.anchor] = node
        self._attach(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = str(event.anchor)
        if name not in self._anchors:
            self._abandon(event, f"*{name} stands for nothing; no &{name} ends before it")
        self._attach(self._anchors[name], event)

    # -- building

    def _attach(self, node: Node, alias: yaml.AliasEvent | None = None) -> None:
        if alias:
            self._expanded += node.weight
            if self._expanded > _EXPANSION_FREE + _EXPANSION * self._written:
                limit = f"{_EXPANSION} times its size"
                self._abandon(alias, f"aliases expand this file too far (limit: {limit})")
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        parent = frame.node
        if isinstance(parent, MappingNode) and not frame.keyed:
            frame.key, frame.keyed = self._key(node, frame), True
            return
        if isinstance(node, Scalar):
            self._resolve(node)
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        if parent.height > DEEPEST:
            self._abandon_too_deep(node)
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
            return
        if frame.key is None:  # the key was reported, so its value is not used
            pass
        elif frame.key.plain and frame.key.text == _MERGE:
            self._add_merged(frame, node)
        else:
            parent.entries[frame.key.text] = KeyValue(frame.key, node)
        frame.key, frame.keyed = None, False

    def _key(self, node: Node, frame: _Frame) -> Scalar | None:
        if not isinstance(node, Scalar):
            self._report(node, self._path(), "a key must be text, not a list or a mapping")
            return None
        first = frame.node.entries.get(node.text) if isinstance(frame.node, MappingNode) else None
        if first:
            where = f"first at line {first.key.line}"
            self._report(node, (*self._path(), node.text), f"is given twice, {where}")
            return None
        return node

    def _add_merged(self, frame: _Frame, node: Node) -> None:
        nodes = node.items if isinstance(node, SequenceNode) else [node]
        for one in nodes:
            if isinstance(one, MappingNode):
                frame.merged.append(one)
            else:
                self._report(one, self._path(), "takes a mapping or a list of mappings")

    def _resolve(self, node: Scalar) -> None:
        # An alias refers to the same scalar again, which must not be substituted twice
        if "$" in node.text and node.substitution is None:
            self._substitute(node, self._path())

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        tag = event.tag
        if tag is not None and tag != "!" and tag not in _TAGS:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self._report_event(event, f"the tag {shown} means nothing here; leave it out")

    def _path(self) -> KeyPath:
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.node, SequenceNode):
                path.append(len(frame.node.items))
            elif frame.key is not None:
                path.append(frame.key.text)
        return tuple(path)

    # -- reporting

    def _report(self, node: Node, path: KeyPath, message: str) -> None:
        self._problems.add(node, path, message)

    def _report_event(self, event: yaml.Event, message: str) -> None:
        line, column = place_of(event)
        self._problems.at(self._source.shown, message, line, column, self._path())

    def _abandon(self, where: yaml.Event | Node, message: str) -> NoReturn:
        if isinstance(where, yaml.Event):
            self._report_event(where, message)
        else:
            self._report(where, self._path(), message)
        raise _AbandonedError

    def _abandon_too_deep(self, where: yaml.Event | Node) -> NoReturn:
        del self._stack[_SHOWN_LEVELS:]  # the whole path would be a screenful
        self._abandon(where, f"is nested deeper than {DEEPEST} levels")

    def _report_syntax(self, error: yaml.YAMLError, data: bytes) -> None:
        if isinstance(error, yaml.reader.ReaderError):
            before = data[: error.position].decode(errors="replace")
            line = before.count("\n") + 1
            column = len(before) - (before.rfind("\n") + 1) + 1
            message = f"holds a character that YAML forbids, {error.character:#04x}"
        elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
            message = _syntax(error, _line(data, line), column)
        else:
            line, column, message = 1, 1, f"is not YAML: {error}"
        self._problems.at(self._source.shown, message, line, column)


def _merge(node: MappingNode, merged: list[MappingNode]) -> dict[str, KeyValue]:
    # The mapping's own keys win over merged ones, and among these the first wins
    entries: dict[str, KeyValue] = {}
    for one in merged:
        for key, entry in one.entries.items():
            entries.setdefault(key, entry)
    return {**entries, **node.entries}


def place_of(event: yaml.Event) -> tuple[int, int]:
    """Return the line and column where an event begins, from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _line(data: bytes, number: int) -> str:
    lines = data.split(b"\n", number)
    return lines[number - 1].decode(errors="replace") if number <= len(lines) else ""


def _syntax(error: yaml.MarkedYAMLError, line: str, column: int) -> str:
    problem = error.problem or "it ends too early"
    context = f" {error.context}" if error.context else ""
    if line[column - 1 : column] == "\t":
        hint = "; indent with spaces, not with tabs"
    elif problem.startswith("mapping values"):
        hint = "; put text that holds a colon in quotes, and check the indentation"
    elif "${" in line and "flow" in (error.context or ""):
        hint = "; between braces and brackets, put ${…} in quotes"
    elif "cannot start any token" in problem:
        hint = "; put the text in quotes"
    else:
        hint = ""
    return f"is not YAML:{context} {problem}{hint}"
