"""
The configuration as it was written, with secrets masked.

The text is created from the nodes, without comments, because these may contain anything.
``${NAME}`` stays as it is; secrets, credentials in URLs and values of sensitive headers become
``<secret>``.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from monitor.config.forms import Form
from monitor.config.nodes import MappingNode, Node, Scalar, SequenceNode
from monitor.config.substitute import shows_nothing
from monitor.secrecy import HIDDEN, hide_credentials, is_sensitive_header

_PLAIN_KEY = re.compile(r"[\w-]+", re.ASCII)
_HEADERS = ("headers", "header")
# json.dumps leaves these unchanged; YAML treats them as line breaks, or forbids them
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def masked_lines(node: Node, form: Form | None, indent: str = "") -> Iterator[str]:
    """
    Yield the lines of a node's YAML text.

    Args:
        form: Knows which values are secret.
    """
    if isinstance(node, Scalar):
        yield indent + _scalar(node, form)
    elif isinstance(node, SequenceNode):
        item_form = form.item if form else None
        for item in node.items:
            lines = masked_lines(item, item_form, f"{indent}  ")
            yield f"{indent}- {next(lines).lstrip(' ')}"
            yield from lines
        if not node.items:
            yield f"{indent}[]"
    else:
        yield from _mapping(node, form, indent)


def _mapping(node: MappingNode, form: Form | None, indent: str) -> Iterator[str]:
    for key, entry in node.entries.items():
        shown_key = _key(key)
        below = form.below(key) if form else None
        value = entry.value
        if isinstance(value, Scalar):
            yield f"{indent}{shown_key}: {_scalar(value, below)}"
        elif not (value.items if isinstance(value, SequenceNode) else value.entries):
            yield f"{indent}{shown_key}: {'[]' if isinstance(value, SequenceNode) else '{}'}"
        elif key in _HEADERS and isinstance(value, MappingNode):
            yield f"{indent}{shown_key}:"
            yield from _headers(value, f"{indent}  ")
        else:
            yield f"{indent}{shown_key}:"
            yield from masked_lines(value, below, f"{indent}  ")
    if not node.entries and indent:
        yield f"{indent}{{}}"


def _headers(node: MappingNode, indent: str) -> Iterator[str]:
    for name, entry in node.entries.items():
        value = entry.value
        shown = isinstance(value, Scalar) and shows_nothing(_written(value))
        if is_sensitive_header(name) and not shown:
            yield f"{indent}{_key(name)}: {HIDDEN}"
        else:
            one = MappingNode(node.source, node.line, node.column, {name: entry})
            yield from _mapping(one, None, indent)


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else quoted(name)


def _scalar(node: Scalar, form: Form | None) -> str:
    written = _written(node)
    if form and form.secret and not shows_nothing(written):
        return HIDDEN
    shown = hide_credentials(written)
    if node.plain and "\n" not in shown and shown == shown.strip():
        return shown
    return quoted(shown)


def _written(node: Scalar) -> str:
    return node.substitution.written if node.substitution else node.text


def quoted(value: Any) -> str:
    """Return a text or another JSON value as one line that YAML reads as the same value."""
    line = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
