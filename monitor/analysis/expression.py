"""
CEL, the expression language of ``that``: finds mistakes on reading, and evaluates within limits.

Expressions are read with the configuration, and evaluated in the worker processes.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from monitor.analysis.arithmetic import Arithmetic, as_written, doubles, rewritten
from monitor.analysis.seen import Seen, Unseen
from monitor.analysis.text import plain, quote, unknown_name
from monitor.model import DnsAnswer, IcmpAnswer, Seconds
from monitor.protocols.table import OVER_TLS, only

_DAY: Seconds = 86400

_LONGEST = 8192
"""Characters of one expression; above about 50,000 the library overflows its stack."""

_CPU_LIMIT: Seconds = 1.0
"""The limit for all expressions of a site together; they usually take microseconds."""

# ---------------------------------------------------------------- the library


@lru_cache(maxsize=1)
def _library() -> Any:
    # The package's __init__ imports its command line, and with it typer, rich and prompt_toolkit:
    # 170 ms and 28 MB in each worker process. The extension alone takes 10 ms and 3 MB.
    name = "cel.cel"
    if name in sys.modules:
        return sys.modules[name]
    package = find_spec("cel")
    spec = PathFinder.find_spec(name, package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:
        raise ImportError("common-expression-language is not installed")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # It initialises once per process: a later import of the whole package finds it here
    sys.modules[name] = module
    return module


_CALLABLE = """
    size matches contains startsWith endsWith int uint double string bytes timestamp duration
    type dyn getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours
    getMinutes getSeconds getMilliseconds none of ofNonZeroValue hasValue value or orValue
"""
FUNCTIONS = frozenset(_CALLABLE.split())
"""Functions the library can call; it would report an unknown name only on evaluation."""

_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
"""Correctly written, these are macros, not functions."""

_CONSTANTS = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "optional"}
)
"""Names other than values of the answer: ``type(json.n) == int``, ``optional.of(1)``."""


# ---------------------------------------------------------------- the variables of expressions


@dataclass(frozen=True, slots=True)
class _Variable:
    """
    One name of an expression.

    Attributes:
        get: Returns its value, or raises Unseen.
        doc: Its type and its unit.
        sample: A value that it might have, of the right type.
        protocols: The protocols whose checks have it; empty for all.
        samples: By protocol, if the type differs there.
    """

    get: Callable[[Seen], Any]
    doc: str
    sample: Any
    protocols: frozenset[str] = frozenset()
    samples: Mapping[str, Any] = field(default_factory=dict)


def _headers(seen: Seen) -> dict[str, str]:
    joined: dict[str, list[str]] = {}
    for name, value in seen.headers():
        joined.setdefault(name, []).append(value)
    return {name: ", ".join(values) for name, values in joined.items()}


def _body(seen: Seen) -> str:
    answer = seen.http
    if answer.truncated:
        raise Unseen(f"body was cut after {len(answer.body)} bytes")
    return seen.text


def _ip(seen: Seen) -> str:
    if seen.observation.address is None:
        raise Unseen("there is no address to look at")
    return seen.observation.address


def _certificate(seen: Seen) -> dict[str, Any]:
    leaf = seen.leaf
    return {
        "not_before": datetime.fromtimestamp(leaf.not_before, UTC),
        "not_after": datetime.fromtimestamp(leaf.not_after, UTC),
        "days_left": (leaf.not_after - seen.observation.time) / _DAY,
        "lifetime_days": leaf.lifetime / _DAY,
        "issuer": leaf.issuer,
        "subject": leaf.subject,
        "names": list(leaf.names),
        "verified": seen.tls.verified,
    }


def _tls_version(seen: Seen) -> str:
    if seen.tls.version is None:
        raise Unseen("there was no TLS handshake")
    return seen.tls.version


def _rtt(seen: Seen) -> Seconds:
    times = seen.answer(IcmpAnswer, "echo reply").round_trips
    if not times:
        raise Unseen("no packet was answered")
    return sum(times) / len(times)


_HTTP = only("http")

VARIABLES: Mapping[str, _Variable] = {
    "status": _Variable(
        lambda seen: seen.status,
        'a whole number such as 200; with gRPC a text such as "SERVING"',
        200,
        only("http", "ws", "grpc"),
        {"grpc": "SERVING"},
    ),
    "headers": _Variable(
        _headers,
        "a mapping of texts by lower-case name; several lines of a name are one, joined by commas",
        {"content-type": "application/json"},
        only("http", "ws"),
    ),
    "body": _Variable(_body, "a text", "{}", _HTTP),
    "json": _Variable(
        lambda seen: doubles(seen.json),
        "whatever the body holds as JSON; its numbers are doubles, also whole ones",
        None,
        _HTTP,
    ),
    "latency": _Variable(
        lambda seen: seen.observation.duration,
        "a number of seconds such as 0.25, for the whole check",
        0.25,
    ),
    "url": _Variable(
        lambda seen: seen.final_url, "a text: where the answer came from", "https://a.example/"
    ),
    "redirects": _Variable(
        lambda seen: len(seen.http.redirects), "a whole number: how many were followed", 0, _HTTP
    ),
    "ip": _Variable(_ip, 'a text such as "192.0.2.1"', "192.0.2.1"),
    "http_version": _Variable(
        lambda seen: seen.http.version, 'a text: "1.0", "1.1", "2" or "3"', "1.1", _HTTP
    ),
    "certificate": _Variable(
        _certificate,
        "a mapping: not_before and not_after, timestamps; days_left and lifetime_days, numbers of"
        " days such as 12.5; issuer and subject, texts; names, a list of texts; verified, true or"
        " false",
        {
            "not_before": datetime(2029, 10, 3, tzinfo=UTC),
            "not_after": datetime(2030, 1, 1, tzinfo=UTC),
            "days_left": 12.5,
            "lifetime_days": 90.0,
            "issuer": "CN=Example CA",
            "subject": "CN=a.example",
            "names": ["a.example"],
            "verified": True,
        },
        OVER_TLS,
    ),
    "tls_version": _Variable(_tls_version, 'a text such as "TLS 1.3"', "TLS 1.3", OVER_TLS),
    "rcode": _Variable(
        lambda seen: seen.answer(DnsAnswer, "DNS reply").rcode,
        'a text such as "NOERROR"',
        "NOERROR",
        only("dns"),
    ),
    "flags": _Variable(
        lambda seen: list(seen.answer(DnsAnswer, "DNS reply").flags),
        'a list of texts: those of "AA", "TC", "RA", "AD" that are set',
        ["RA"],
        only("dns"),
    ),
    "answers": _Variable(
        lambda seen: list(seen.answer(DnsAnswer, "DNS reply").answer),
        'a list of texts such as "a.example. 300 IN A 192.0.2.1"',
        ["a.example. 300 IN A 192.0.2.1"],
        only("dns"),
    ),
    "loss": _Variable(
        lambda seen: seen.answer(IcmpAnswer, "echo reply").loss,
        "a number from 0.0 to 1.0: the part of the packets that was lost",
        0.0,
        only("icmp"),
    ),
    "rtt": _Variable(
        _rtt,
        "a number of seconds such as 0.02: the mean round trip",
        0.02,
        only("icmp"),
    ),
}
_PROTOCOLS = frozenset[str]().union(*(variable.protocols for variable in VARIABLES.values()))


# ---------------------------------------------------------------- reading


def parse_expression(value: Any) -> str:
    """
    Return the expression, once the library and the tables above have accepted it.

    Raises:
        ValueError: It is not CEL, uses an unknown function or variable, uses no variable, or uses
            values in a way that their types do not allow in any protocol.
    """
    if not (isinstance(value, str) and value):
        raise ValueError(f"{value!r} is not an expression; put it in quotes")
    if len(value) > _LONGEST:
        raise ValueError(f"the expression is longer than {_LONGEST} characters")
    program = _compile(value)
    if not program.variables:
        raise ValueError(
            f"{plain(value)} looks at nothing of the answer; it may use {', '.join(VARIABLES)}"
        )
    of_all = [one for name in program.variables if (one := VARIABLES[name].protocols)]
    wrong = [_wrong_types(value, one) for one in sorted(_PROTOCOLS.intersection(*of_all))]
    if wrong and all(wrong):
        raise ValueError(f"{plain(value)} cannot be evaluated: {wrong[0]}")
    return value


def uses_body(source: str) -> bool:
    """Return whether an expression that was read needs the whole body."""
    return not _compile(source).variables.isdisjoint({"body", "json"})


def check_protocol(source: str, protocol: str) -> None:
    """
    Refuse an expression that makes no sense for checks of this protocol.

    Raises:
        ValueError: It uses a variable that they do not have.
        TypeError: It uses their values in a way that the types do not allow.
    """
    for name in sorted(_compile(source).variables):
        protocols = VARIABLES[name].protocols
        if protocols and protocol not in protocols:
            raise ValueError(f"{protocol} checks have no {name}")
    if wrong := _wrong_types(source, protocol):
        # Without the expression: once truncated, it may contain part of a secret
        raise TypeError(f"{protocol} checks cannot evaluate it: {wrong}")


@dataclass(frozen=True, slots=True)
class _Program:
    """
    An expression that is ready to be evaluated.

    Attributes:
        run: The library's program.
        variables: The names in VARIABLES that it uses.
        loops: Whether it has a comprehension.
    """

    run: Any
    variables: frozenset[str]
    loops: bool


@lru_cache(maxsize=2048)
def _compile(source: str) -> _Program:
    program = _translate(source)
    code = _OPAQUE.sub(lambda found: " " * len(found[0]), source)
    # The library does not tell the variables of comprehensions from the others
    bound = {found[2] for found in _COMPREHENSION.finditer(code)}
    names = set(program.variables()) - bound - _CONSTANTS
    _refuse_unknown("variable", names, VARIABLES)
    functions = set(filter(str.isidentifier, program.functions()))  # all others are operators
    for name in sorted(functions & _MACROS):
        raise ValueError(f"{name} takes a name and an expression, as in {name}(x, x > 0)")
    _refuse_unknown("function", functions, FUNCTIONS)
    for found in _PATTERN.finditer(source):
        _refuse_bad_pattern(found[1])
    bounded = _bound_comprehensions(source)
    loops = bounded != source
    return _Program(
        run=_translate(bounded) if loops else program, variables=frozenset(names), loops=loops
    )


@lru_cache(maxsize=2048)
def _second_try(source: str) -> Any:
    """Return the program to run if the first one fails; None if it would fail again."""
    program = _compile(source)
    text = rewritten(source, _OPAQUE) if "json" in program.variables else source
    if text is None:
        text = source
    if program.loops:
        text = _bound_comprehensions(text, tolerant=True)
    return _translate(text) if text != source else None


def _wrong_types(source: str, protocol: str) -> str | None:
    """
    Return how an expression misuses the types of its values, or None.

    The library checks types only on evaluation, so the expression is tried on a sample. A mistake
    found here is real, but some are not found: JSON may hold anything, and mistakes that depend on
    values show only in checks. Comprehensions are not tried: they may take any amount of memory,
    and only the workers limit it.
    """
    program = _compile(source)
    if program.loops or "json" in program.variables:
        return None
    context = _library().Context()
    for name in program.variables:
        variable = VARIABLES[name]
        context.add_variable(name, variable.samples.get(protocol, variable.sample))
    try:
        result = program.run.execute(context)
    except TypeError as error:
        why = _in_plain_words(str(error), {})
    except RuntimeError as error:
        if not _UNDEFINED.match(str(error)):
            return None
        why = _in_plain_words(str(error), {})
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic, as in _translate, or an error that depends on the values
        return None
    else:
        if isinstance(result, bool):
            return None
        why = "it is neither true nor false"
    types = "; ".join(f"{name} is {VARIABLES[name].doc}" for name in sorted(program.variables))
    return f"{why}; {types}"


def _translate(source: str) -> Any:
    try:
        return _library().compile(source)
    except ValueError as error:
        found = _SYNTAX_ERROR.search(str(error))
        if not found:
            raise ValueError(f"{plain(source)} is not a CEL expression") from error
        line, column, reason = found.groups()
        reason = plain(reason.partition(" expecting ")[0].replace("<EOF>", "the end"))
        place = f"character {column}" if "\n" not in source else f"line {line}, character {column}"
        raise ValueError(f"{plain(source)} is not a CEL expression: {reason} at {place}") from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # also a panic of a Rust library, which is not an Exception
        raise ValueError(f"{plain(source)} is not a CEL expression: {error}") from error


_SYNTAX_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")


def _refuse_unknown(kind: str, names: set[str], known: Iterable[str]) -> None:
    for name in sorted(names.difference(known)):
        raise ValueError(unknown_name(kind, name, sorted(known)))


def _refuse_bad_pattern(literal: str) -> None:
    try:
        _translate(f"''.matches({literal})").execute({})
    except RuntimeError as error:
        raise ValueError(_in_plain_words(str(error), {})) from error


# ---------------------------------------------------------------- bounding
#
# The library does not limit comprehensions: over a list from a hostile body, filter takes
# quadratic time (10,000 elements: 14 s) and nested ones multiply. So each comprehension asks, at
# every element, whether time is left: ``l.all(x, x > 0)`` is evaluated as
# ``l.all(x, _go() ? (x > 0) : false)``. Everything else in CEL takes linear time.
#
# By CEL's definition all and exists are && and || over the elements, so an element that decides
# absorbs the errors of others, wherever it stands. The library stops at the first error, so its
# verdict would depend on the order in which a server sends elements. After an error,
# ``l.all(x, P)`` is evaluated once more, as
# ``l.all(x, _begin(n) ? (((P) && _held(n)) || _absorb(n)) : false)._settled(n, true)[0]``:
# If P is true, _held runs. If P is false, _absorb runs and returns false. If P is an error, both
# run, and _absorb returns true, so that the loop continues; _settled is then an error, unless an
# element decided. The same is done for exists with ``!P``.

_GO = "_go"

# What is not code: comments, and strings in each of CEL's forms
_OPAQUE = re.compile(
    r"""
    //[^\n]*
    | (?<!\w) (?:[rR][bB]?|[bB][rR])
        (?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n]*" | '[^'\n]*' )
    | \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3}
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    """,
    re.VERBOSE | re.DOTALL,
)
_PATTERN = re.compile(rf"\.\s*matches\s*\(\s*({_OPAQUE.pattern})\s*\)", re.VERBOSE | re.DOTALL)
_COMPREHENSION = re.compile(r"\.\s*(all|exists_one|exists|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")

_BOUND = (f" {_GO}() ? (", ")")
_TOLERANT: Mapping[str, tuple[str, str, str]] = {
    "all": (" _begin({0}) ? (((", ") && _held({0})) || _absorb({0}))", "._settled({0}, true)[0]"),
    "exists": (
        " _begin({0}) ? !((!(",
        ") && _held({0})) || _absorb({0}))",
        "._settled({0}, false)[0]",
    ),
}
"""Text before and after a condition, and after comprehension number {0}."""


def _bound_comprehensions(source: str, *, tolerant: bool = False) -> str:
    """
    Return the expression with a test for remaining time at each element.

    Args:
        tolerant: Let all and exists continue after errors.
    """
    code = _OPAQUE.sub(lambda found: " " * len(found[0]), source)
    # If two end at the same place, the inner one, which began later, comes first
    inserted: list[tuple[int, int, str]] = []
    for number, found in enumerate(_COMPREHENSION.finditer(code)):
        end = _argument_end(code, found.end())
        before, after = _BOUND
        if tolerant and found[1] in _TOLERANT:
            before, after, settled = (text.format(number) for text in _TOLERANT[found[1]])
            inserted.append((end + 1, -number, settled))
        transforms = found[1] == "map" and code[end : end + 1] == ")"
        inserted.append((found.end(), 0, before))
        inserted.append((end, -number, f"{after} : {'null' if transforms else 'false'}"))
    for place, _, text in sorted(inserted, reverse=True):
        source = source[:place] + text + source[place:]
    return source


def _argument_end(code: str, start: int) -> int:
    depth = 0
    for place in range(start, len(code)):
        char = code[place]
        if depth == 0 and char in "),":
            return place
        depth += (char in "([{") - (char in ")]}")
    return len(code)


class _Budget:
    """Limits the CPU time of expressions; not wall time, so that a busy machine fails no site."""

    def __init__(self, limit: Seconds) -> None:
        self.spent = False
        self._end = time.thread_time() + limit
        # Reading the CPU clock is a system call; reading the wall clock is not, and it is never
        # behind the CPU clock
        self._look = time.monotonic() + limit

    def go(self) -> bool | None:
        """Return True; once the time is used up, return None, which ends the evaluation."""
        now = time.monotonic()
        if now < self._look:
            return True
        left = self._end - time.thread_time()
        if left > 0:
            self._look = now + left
            return True
        self.spent = True
        return None


class _Errors:
    """Results of the conditions of all and exists, by the number of the comprehension."""

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._held: set[int] = set()
        self._failed: set[int] = set()

    def functions(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "_begin": self._begin,
            "_held": self._hold,
            "_absorb": self._absorb,
            "_settled": self._settled,
        }

    def _begin(self, number: int) -> bool | None:
        self._held.discard(number)
        return self._budget.go()

    def _hold(self, number: int) -> bool:
        self._held.add(number)
        return True

    def _absorb(self, number: int) -> bool:
        """Return whether the condition was an error."""
        if number not in self._held:
            return False
        self._failed.add(number)
        return True

    def _settled(self, result: bool, number: int, undecided: bool) -> list[bool]:
        """Return the result; an empty list, so an error, if errors may have hidden another one."""
        failed = number in self._failed
        self._failed.discard(number)
        return [] if failed and result is undecided else [result]


# ---------------------------------------------------------------- evaluating


def why_not_all(sources: tuple[str, ...], seen: Seen, limit: Seconds = _CPU_LIMIT) -> str | None:
    """
    Return why the first expression that is not true fails, or None if all are true.

    Args:
        limit: Seconds of CPU that they may take together.
    """
    context = _library().Context()
    unseen: dict[str, str] = {}
    for name in frozenset[str]().union(*(_compile(source).variables for source in sources)):
        try:
            context.add_variable(name, VARIABLES[name].get(seen))
        except Unseen as error:
            unseen[name] = str(error)
        except ValueError:
            unseen[name] = f"{name} holds what CEL cannot: half a character, or a huge integer"
    budget = _Budget(limit)
    context.add_function(_GO, budget.go)
    for source in sources:
        why = _why_not(source, context, unseen, budget)
        shown = f"expression {seen.plain(' '.join(source.split()), 200)}"
        if budget.spent:
            return f"{shown} took more than {limit:g}s of computing"
        if why:
            return f"{shown} {why}{_show_values(source, context, seen)}"
    return None


def _why_not(source: str, context: Any, unseen: Mapping[str, str], budget: _Budget) -> str | None:
    why = _outcome(_compile(source).run, context, unseen)
    if not isinstance(why, _Error) or budget.spent:
        return why
    again = _second_try(source)
    if again is None:
        return str(why)
    arithmetic = Arithmetic()
    functions = {**arithmetic.functions(), **_Errors(budget).functions()}
    for name, function in functions.items():
        context.add_function(name, function)
    second = _outcome(again, context, unseen)
    if not isinstance(second, _Error):
        return second
    return str(_Error.of(arithmetic.failure) if arithmetic.failure else why)


class _Error(str):
    """The reason why an expression is an error, neither true nor false."""

    __slots__ = ()

    @classmethod
    def of(cls, why: str) -> "_Error":
        return cls(f"cannot be evaluated: {why}")


def _outcome(program: Any, context: Any, unseen: Mapping[str, str]) -> str | None:
    try:
        result = program.execute(context)
    except KeyError as error:
        return _Error.of(f"there is no {quote(str(error.args[0]))}")
    except IndexError as error:
        return _Error.of(f"there is no element {str(error).rpartition(' ')[2]}")
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        return _Error.of(_in_plain_words(str(error), unseen))
    if result is True:
        return None
    return "is false" if result is False else "is neither true nor false"


def _in_plain_words(message: str, unseen: Mapping[str, str]) -> str:
    missing = _UNDEFINED.match(message)
    if missing:
        return unseen.get(missing[1]) or f"there is no {missing[1]!r} with these arguments"
    if message.startswith("No such overload"):
        return "a value has a type that the operation does not take"
    pattern = _BAD_PATTERN.search(message)
    if pattern:
        return f"{plain(pattern[1])} is not a pattern: {plain(pattern[2])}"
    return plain(message.partition(" Check function arguments")[0].partition(". ")[0].rstrip("."))


_UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
_BAD_PATTERN = re.compile(
    r"error: (.*) not a valid regex:\n(?:.*\nerror: )?(.*?)\.+ Check function", re.DOTALL
)

_SHOWN_VALUES = 3
# A variable, and the fields and elements read from it
_PICKED = re.compile(
    rf"""
    (?P<opaque>{_OPAQUE.pattern})
    | (?<![\w.]) (?:{"|".join(VARIABLES)}) \b (?!\s*\()
      (?: \.[A-Za-z_]\w*\b(?!\s*\() | \[(?:\d+|"[^"\\\n]*"|'[^'\\\n]*')\] )*
    """,
    re.VERBOSE | re.DOTALL,
)


def _show_values(source: str, context: Any, seen: Seen) -> str:
    """Return the values the expression used: `` (status is 503, json.ok is false)``."""
    shown: dict[str, str] = {}
    for found in _PICKED.finditer(source):
        picked = found[0]
        if found["opaque"] or picked in shown or len(shown) == _SHOWN_VALUES:
            continue
        try:
            value = as_written(_translate(picked).execute(context))
        except (LookupError, TypeError, ValueError, RuntimeError):
            continue
        shown[picked] = f"{seen.plain(picked)} is {seen.quote(value)}"
    return f" ({', '.join(shown.values())})" if shown else ""
