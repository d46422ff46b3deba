"""
YAML as Go's yaml.v3 reads it into records, which is how blackbox_exporter reads its files.

Our own files have the types of YAML 1.2, and a value of another type than the option's is an error.
In Go the type of the option decides how a value is read: a number is the text as written where the
option is a text, ``yes`` is true where it is a boolean, and a key without a value counts as not
written. These files were written for blackbox_exporter, so they keep the meaning they have there.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import yaml

from monitor.config.forms import Form
from monitor.config.nodes import (
    Composer,
    KeyValue,
    MappingNode,
    Node,
    Scalar,
    SequenceNode,
    place_of,
)

_TAG = "tag:yaml.org,2002:"
_BINARY = f"{_TAG}binary"
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), "null"),
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "bool"),
}
# Bounded, as in nodes.py. A leading 0 means octal, as strconv.ParseInt reads it with base 0
_INTEGER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]{1,400}|0[bB][01]{1,400}|0[oO]?[0-7]{1,400}|0|[1-9][0-9]{0,400})"
)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,4})?"
)
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_YES = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
_NO = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})
_LARGEST = 2**63 - 1
_BYTES = ("send", "expect_bytes")


class Kind(Enum):
    """The type that a scalar has by itself, before the type of the option decides."""

    NULL = "null"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "str"


@dataclass(slots=True, eq=False)
class GoScalar(Scalar):
    """A scalar with its kind; bytes (``!!binary``) are surrogate escapes in its text."""

    kind: Kind = Kind.TEXT


def _kind(text: str) -> Kind:
    """Return the kind of a plain scalar, as resolve() of yaml.v3 finds it."""
    if text in _WORDS:
        return Kind(_WORDS[text])
    bare = text.replace("_", "")
    if _INTEGER.fullmatch(bare):
        return Kind.INT
    if _FLOAT.fullmatch(bare) or _SPECIAL_FLOAT.fullmatch(text):
        return Kind.FLOAT
    return Kind.TEXT


class GoComposer(Composer):
    """
    Makes nodes from the events of such a file.

    Go reads only the first document. An empty second one, which a trailing ``---`` begins, is
    ignored here too; one with content is a problem, because its author believes that it counts.
    """

    first_key: ClassVar[str] = "modules"
    _beyond = False

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            self._beyond = True
        elif not self._beyond:
            super()._take(event)
        elif isinstance(event, yaml.NodeEvent) and not _is_nothing(event):
            message = "a second document begins here; blackbox_exporter reads only the first"
            self._abandon(event, message)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        tag = event.tag
        line, column = place_of(event)
        plain = bool(event.implicit[0])
        kind = _kind(event.value) if plain else Kind.TEXT
        node = GoScalar(self._source, line, column, event.value, plain, kind=kind)
        if tag == _BINARY:
            self._decode_bytes(node)
        elif tag is not None and tag.removeprefix(_TAG) in {one.value for one in Kind}:
            self._convert(node, Kind(tag.removeprefix(_TAG)))
        self._add_scalar(event, node)

    def _decode_bytes(self, node: GoScalar) -> None:
        try:
            data = b64decode("".join(node.text.split("\n")), validate=True)
        except (Base64Error, ValueError):
            self._report(node, self._path(), "is not base64, which !!binary needs")
            return
        node.text = data.decode(errors="surrogateescape")
        path = self._path()
        if not is_text(node.text) and (not path or path[-1] not in _BYTES):
            keys = " and ".join(_BYTES)
            self._report(node, path, f"is not UTF-8; only {keys} may be other bytes")
            node.text = data.decode(errors="replace")

    def _convert(self, node: GoScalar, wanted: Kind) -> None:
        kind = _kind(node.text)
        node.kind = wanted
        if wanted not in (kind, Kind.TEXT) and (wanted, kind) != (Kind.FLOAT, Kind.INT):
            message = f"is not what its tag !!{wanted.value} says"
            self._report(node, self._path(), message)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        """Accept any tag: Go only looks at the tags of YAML's own types, and only for scalars."""

    def _resolve(self, node: Scalar) -> None:
        """Leave the text as it is: these files have no substitution."""


def is_text(text: str) -> bool:
    """Return whether a text contains no surrogate escape, and so only real text."""
    return not any("\udc80" <= char <= "\udcff" for char in text)


def _is_nothing(event: yaml.NodeEvent) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not event.value


# ---------------------------------------------------------------- values by the type of the option


def settled(node: Node, form: Form) -> Node:
    """
    Return the node as Go reads it for a value of this form; changes the node itself.

    An empty value counts as not written under a key of a record, and as no item in a list; under a
    free name (a header's, for example) it is the empty value. Every other scalar becomes text, and
    the types below read it.
    """
    if isinstance(node, MappingNode):
        node.entries = _entries(node, form)
    elif isinstance(node, SequenceNode) and form.item:
        item = form.item
        node.items = [settled(one, item) for one in node.items if not is_null(one)]
    elif isinstance(node, Scalar) and not is_null(node):
        node.plain = False
    return node


def is_null(node: Node) -> bool:
    return isinstance(node, GoScalar) and node.kind is Kind.NULL


def _entries(node: MappingNode, form: Form) -> dict[str, KeyValue]:
    entries: dict[str, KeyValue] = {}
    for key, entry in node.entries.items():
        below = form.below(key)
        value = entry.value
        if below is not None:
            if not is_null(value):
                value = settled(value, below)
            elif key in form.fields:
                continue
            else:
                value = _empty(value, below)
        entries[key] = KeyValue(entry.key, value, entry.inherited)
    return entries


def _empty(null: Node, form: Form) -> Node:
    if form.fields:
        return MappingNode(null.source, null.line, null.column)
    if form.item:
        return SequenceNode(null.source, null.line, null.column)
    return GoScalar(null.source, null.line, null.column, "")


# ---------------------------------------------------------------- the types


def kind_of(value: Any) -> Kind:
    """Return the kind of the scalar that a text was decoded from."""
    node = getattr(value, "node", None)
    return node.kind if isinstance(node, GoScalar) else Kind.TEXT


def parse_bool(value: Any) -> bool:
    """
    Return a boolean as Go reads it: as in YAML 1.2, or by the words of YAML 1.1.

    Raises:
        ValueError: It is neither. Go treats a quoted ``'true'`` as text, but not ``'yes'``.
    """
    if kind_of(value) is Kind.BOOL:
        return str(value).lower() == "true"
    if value in _YES or value in _NO:
        return value in _YES
    raise ValueError(f"must be true or false, not {_shown(value)}")


def parse_int(value: Any) -> int:
    """
    Return a whole number; drop a fraction, as Go does.

    Raises:
        ValueError: It is not a number, or too large.
    """
    kind = kind_of(value)
    number: float | int | None = None
    if kind is Kind.INT:
        number = _integer(str(value).replace("_", ""))
    elif kind is Kind.FLOAT and _FLOAT.fullmatch(str(value).replace("_", "")):
        number = float(str(value).replace("_", ""))
    if number is None or not -_LARGEST <= number <= _LARGEST:
        raise ValueError(f"must be a whole number, not {_shown(value)}")
    return int(number)


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbBoO"
    return sign * (int(digits, 8) if octal else int(digits, 0))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(str(value)) if kind_of(value) is Kind.TEXT else str(value)
    return "a list" if isinstance(value, list) else "a mapping"
