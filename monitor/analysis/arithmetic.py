"""
Arithmetic that mixes whole numbers and numbers with a fraction, which CEL itself refuses.

JSON does not tell the two apart, so ``json.n + 1`` would work or fail depending on the number a
server happens to send. Numbers from JSON are doubles, as in CEL's own mapping. An expression that
fails for this reason is rewritten with a function instead of each operator; these functions accept
both kinds. Expressions that CEL accepts unchanged never come here.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

Function: TypeAlias = Callable[..., Any]

_LARGEST = 2**63 - 1
_EXACT = 2**53
"""Doubles hold every whole number up to this one."""

# ---------------------------------------------------------------- numbers from JSON


def doubles(value: Any) -> Any:
    """
    Return a JSON value with its whole numbers as doubles.

    Numbers that a double would change stay whole; they are identifiers that are rarely added.
    """
    return _mapped(value, _double)


def as_written(value: Any) -> Any:
    """Return a value with whole doubles as JSON writes them, for messages."""
    return _mapped(value, _whole)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    # Without recursion, as JSON may be nested deeper than Python's stack takes
    if not isinstance(value, list | dict):
        return change(value)
    top = value.copy()
    waiting = [top]
    while waiting:
        node = waiting.pop()
        for key, one in enumerate(node) if isinstance(node, list) else node.items():
            if isinstance(one, list | dict):
                node[key] = one.copy()
                waiting.append(node[key])
            else:
                node[key] = change(one)
    return top


def _double(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool) or _EXACT < abs(value) <= _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        return value


# ---------------------------------------------------------------- rewriting the expression

_OPERATORS = {"+": "_add", "-": "_subtract", "*": "_multiply", "/": "_divide", "%": "_modulo"}
_WHOLE = "_whole"
_TOKEN = re.compile(
    r"""
    (?P<number> 0[xX][0-9a-fA-F]+[uU]? | [0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?[uU]? )
    | (?P<name> [A-Za-z_]\w* )
    | (?P<mark> && | \|\| | [=!<>]= | \.\? | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_JOINS = frozenset({"&&", "||", "==", "!=", "<", "<=", ">", ">=", "in", "?", ":", ","})


class _Unreadable(Exception):  # noqa: N818  never leaves this file
    """The expression has syntax that is unknown here; CEL may know it."""


def rewritten(source: str, opaque: re.Pattern[str]) -> str | None:
    """
    Return an expression with functions for operators; None if it cannot be rewritten.

    Args:
        source: An expression that the library has accepted.
        opaque: Matches what is not code: texts and comments.
    """
    tokens = [token for token in _tokens(source, opaque) if not token.isspace()]
    try:
        writer = _Writer(tokens)
        text = writer.several("")
    except (_Unreadable, RecursionError):
        return None
    return text


def _tokens(source: str, opaque: re.Pattern[str]) -> Iterator[str]:
    end = 0
    for match in opaque.finditer(source):
        yield from (one[0] for one in _TOKEN.finditer(source, end, match.start()))
        if not match[0].startswith("//"):
            yield match[0]
        end = match.end()
    yield from (one[0] for one in _TOKEN.finditer(source, end))


class _Writer:
    """Writes one expression; goes through its tokens from the first to the last."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        if not token:
            raise _Unreadable
        self._at += 1
        return token

    def several(self, end: str) -> str:
        """Return the tokens before ``end``: sums, and operators that do not compute."""
        parts: list[str] = []
        while self._next() != end:
            parts.append(self._take() if self._next() in _JOINS else self._sum())
        return " ".join(parts)

    def _sum(self) -> str:
        return self._chain(self._product, "+-")

    def _product(self) -> str:
        return self._chain(self._operand, "*/%")

    def _chain(self, operand: Callable[[], str], operators: str) -> str:
        text = operand()
        while self._next() and self._next() in operators:
            function = _OPERATORS[self._take()]
            text = f"{function}({text}, {operand()})[0]"
        return text

    def _operand(self) -> str:
        signs = ""
        while self._next() in ("!", "-"):
            signs += self._take()
        return signs + self._member()

    def _member(self) -> str:
        first = self._take()
        text = first
        if first in _CLOSING:
            text += self._closed(first)
        elif first == ".":
            text += self._take()
        elif not (first[0].isalnum() or first[0] in "_\"'"):
            raise _Unreadable
        while (mark := self._next()) in (".", ".?", "(", "["):
            self._take()
            if mark == "[":
                optional = self._take() if self._next() == "?" else ""
                inside = self._closed(mark).removesuffix("]")
                text += f"[{optional}{_WHOLE}({inside})]"
            elif mark == "(":
                text += mark + self._closed(mark)
            else:
                text += mark + self._take()
        if self._next() == "{":
            raise _Unreadable
        return text

    def _closed(self, opening: str) -> str:
        closing = _CLOSING[opening]
        text = self.several(closing)
        return text + self._take()


# ---------------------------------------------------------------- the functions


class Arithmetic:
    """
    The functions of one evaluation.

    Each returns its result in a list, and the expression takes the first item: an empty list is an
    error for CEL. An exception would be an error too, but the library prints it.

    Attributes:
        failure: Why a result is missing if CEL's message does not explain it; else None.
    """

    def __init__(self) -> None:
        self.failure: str | None = None

    def functions(self) -> Mapping[str, Function]:
        operations = (self._add, self._subtract, self._multiply, self._divide, self._modulo)
        return {**dict(zip(_OPERATORS.values(), operations, strict=True)), _WHOLE: _whole}

    def _add(self, left: Any, right: Any) -> list[Any]:
        if _are_numbers(left, right):
            return self._number(left, right, lambda one, other: one + other)
        joined = (str, bytes, list)
        if type(left) is type(right) and isinstance(left, joined):
            return [left + right]
        return self._of_times(left, right, lambda one, other: one + other)

    def _subtract(self, left: Any, right: Any) -> list[Any]:
        if _are_numbers(left, right):
            return self._number(left, right, lambda one, other: one - other)
        return self._of_times(left, right, lambda one, other: one - other)

    def _multiply(self, left: Any, right: Any) -> list[Any]:
        if not _are_numbers(left, right):
            return []
        return self._number(left, right, lambda one, other: one * other)

    def _divide(self, left: Any, right: Any) -> list[Any]:
        if not _are_numbers(left, right):
            return []
        if isinstance(left, int) and isinstance(right, int):
            if right == 0:
                return self._fail("division by zero")
            whole = abs(left) // abs(right)
            return self._number(whole if (left < 0) == (right < 0) else -whole, 0, _first)
        return self._number(float(left), float(right), _quotient)

    def _modulo(self, left: Any, right: Any) -> list[Any]:
        if not _are_numbers(left, right):
            return []
        one, other = _whole(left), _whole(right)
        if not (isinstance(one, int) and isinstance(other, int)):
            return self._fail(f"{left:g} % {right:g} takes whole numbers")
        if other == 0:
            return self._fail("division by zero")
        rest = abs(one) % abs(other)
        return [-rest if one < 0 else rest]

    def _number(
        self, left: float, right: float, compute: Callable[[float, float], float]
    ) -> list[Any]:
        if isinstance(left, int) and isinstance(right, int):
            result = compute(left, right)
            return [result] if abs(result) <= _LARGEST else []
        return [compute(float(left), float(right))]

    def _of_times(self, left: Any, right: Any, compute: Callable[[Any, Any], Any]) -> list[Any]:
        if isinstance(left, datetime | timedelta) and isinstance(right, datetime | timedelta):
            try:
                return [compute(left, right)]
            except (TypeError, OverflowError):
                pass
        return []

    def _fail(self, why: str) -> list[Any]:
        self.failure = why
        return []


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _whole(value: Any) -> Any:
    """Return a whole number as an integer, and anything else as it is."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    return value


def _first(left: float, _: float) -> float:
    return left


def _quotient(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)
