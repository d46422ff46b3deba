"""
What the program can say, read from its source: log events, and errors that end a start.

A sentence is known by its text with ``…`` for each value that is put in when it is said, so that a
page can list it and a test can compare the two. Constants are put in with their values.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

MONITOR = Path(__file__).parent.parent / "monitor"

HOLE = "…"
_LOG_METHODS = {"debug", "info", "warning", "error", "exception"}
_LOGGERS = {"_log", "log"}

_Scope: TypeAlias = Mapping[str, tuple[ast.expr, ...]]
"""What each name was given, in the order of the source."""


def given_to(*names: str) -> set[str]:
    """Return the sentences that the source hands to the functions or classes of these names."""
    return {
        sentence
        for path in sorted(MONITOR.rglob("*.py"))
        for call, scope in _calls(path)
        if _name(call.func) in names
        for argument in call.args
        for sentence in _sentences(argument, scope)
    }


def events() -> set[str]:
    """Return the name of every logged event, or its form with ``…`` if its name is put together."""
    return {
        event
        for path in sorted(MONITOR.rglob("*.py"))
        for call, scope in _calls(path)
        if call.args and _logs(call.func)
        for event in _sentences(call.args[0], scope)
    }


def _logs(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id=logger), attr=method):
            return logger in _LOGGERS and method in _LOG_METHODS
        case ast.Name(id=name):  # the two that put lines together themselves
            return name in {"_tell", "_line"}
        case _:
            return False


# ---------------------------------------------------------------- from the source to a text


def _calls(path: Path) -> Iterator[tuple[ast.Call, _Scope]]:
    for node, scope in _nodes(ast.parse(path.read_text()), {}):
        if isinstance(node, ast.Call):
            yield node, scope


def _nodes(node: ast.AST, scope: _Scope) -> Iterator[tuple[ast.AST, _Scope]]:
    """Yield all nodes below, outer ones first, with the values of the names around them."""
    if isinstance(node, ast.Module):
        scope = _assigned(node.body)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        scope = {**scope, **_assigned(ast.walk(node))}
    for child in ast.iter_child_nodes(node):
        yield child, scope
        yield from _nodes(child, scope)


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, tuple[ast.expr, ...]]:
    found: dict[str, tuple[ast.expr, ...]] = {}
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = (*found.get(name, ()), value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = (*found.get(name, ()), value)
    return found


def _sentences(node: ast.expr, scope: _Scope) -> Iterator[str]:
    """Yield each text that an argument may be, as far as the source around it shows."""
    match node:
        case ast.Name(id=name):
            for value in scope.get(name, ()):
                yield from _sentences(value, {})
        case ast.IfExp():
            yield from _sentences(node.body, scope)
            yield from _sentences(node.orelse, scope)
        case ast.List():
            for one in node.elts:
                yield from _sentences(one, scope)
        case ast.Call(func=ast.Attribute(value=form, attr="format")):
            for text in _sentences(form, scope):
                yield _tidy(re.sub(r"\{[^}]*\}", HOLE, text))
        case (
            ast.Subscript(value=ast.Name(id=name))
            | ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"))
        ):
            for table in scope.get(name, ()):
                for value in table.values if isinstance(table, ast.Dict) else ():
                    yield from _sentences(value, scope)
        case _:
            said = _template(node, scope)
            if said is not None and said != HOLE:
                yield said


def _template(node: ast.expr, scope: _Scope) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return _tidy(text)
        case ast.JoinedStr(values=parts):
            return _tidy("".join(_part(part, scope) for part in parts))
        case _:
            return None


def _part(node: ast.expr, scope: _Scope) -> str:
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.FormattedValue(value=ast.Name(id=name) as use):
            before = [one for one in scope.get(name, ()) if one.lineno <= use.lineno]
            match before[-1:]:
                case [ast.Constant(value=str(value))]:
                    return value
                case [ast.Constant(value=int(value))] if name.isupper():
                    return str(value)
                case [ast.JoinedStr() as text]:
                    return _template(text, scope) or HOLE
    return HOLE


def _tidy(text: str) -> str:
    return re.sub(rf"{HOLE}[{HOLE} ]*{HOLE}", HOLE, " ".join(text.split()))


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
