"""
Gatus' conditions as expectations.

Conditions are parsed with Gatus' own grammar: an operator between two operands, each a literal, a
placeholder, or a function of one. Conditions on the status become one set of codes; each of the
others becomes an expectation, in the simplest form that means the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from monitor.importers.draft import has_reference, resolved, without_value
from monitor.importers.gatus.values import glob_pattern, parse_duration, parse_int
from monitor.importers.values import add_rule, quoted, show
from monitor.units import Seconds

_OPERATORS = ("==", "!=", "<=", ">=", ">", "<")
"""In the order in which Gatus searches for them."""
_FLIPPED = {"==": "==", "!=": "!=", "<=": ">=", ">=": "<=", ">": "<", "<": ">"}
_WORDS = {"==": "eq", "!=": "ne", "<=": "le", ">=": "ge", ">": "gt", "<": "lt"}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
}
_PLAIN = (
    "[STATUS]", "[IP]", "[RESPONSE_TIME]", "[DNS_RCODE]", "[CONNECTED]",
    "[CERTIFICATE_EXPIRATION]", "[DOMAIN_EXPIRATION]", "[BODY]",
)  # fmt: skip
_CODES = range(100, 600)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[^\s.\[\]\"'*?@$:,()]+")
_KEYWORDS = frozenset(
    [
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
        *("function", "if", "import", "let", "loop", "package", "namespace", "return", "var"),
        *("void", "while"),
    ]
)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")

Step: TypeAlias = str | int


class Untranslatable(Exception):  # noqa: N818  not an error: a reason
    """A condition that cannot be carried over; the text says why."""


@dataclass(frozen=True, slots=True)
class Operand:
    """
    One side of a condition.

    Attributes:
        what: A placeholder; empty for a literal.
        path: The path into the body, if there is one.
        function: ``len`` or ``has``; empty without one.
        text: As it was written.
    """

    text: str
    what: str = ""
    path: tuple[Step, ...] = ()
    function: str = ""

    @property
    def is_json(self) -> bool:
        return self.what == "[BODY]" and bool(self.path)


@dataclass(slots=True)
class Expectations:
    """
    The expectations collected from the conditions of an endpoint.

    Attributes:
        codes: Good status codes; None if no condition is about them.
        changed: Condition → what is different.
        dropped: Condition → why it cannot be carried over.
        impossible: Why the endpoint cannot be a site at all.
    """

    codes: set[int] | None = None
    expect: dict[str, Any] = field(default_factory=dict)
    that: list[str] = field(default_factory=list)
    bodies: list[tuple[str, str]] = field(default_factory=list)
    ours: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    impossible: str | None = None

    def add_rule(self, section: str, key: str, value: Any) -> None:
        """Write a rule such as ``body.contains``; several of the same kind become a list."""
        add_rule(self.expect.setdefault(section, {}), key, value)


def read_conditions(
    conditions: list[str], kind: str, environ: Mapping[str, str], query_type: str = "A"
) -> Expectations:
    """
    Return the expectations of an endpoint.

    Args:
        kind: The kind of the endpoint: http, tcp, tls, starttls, dns, icmp, ws, grpc or ssh.
        query_type: For an endpoint that queries a name server.
    """
    found = Expectations()
    reader = _Reader(found, kind, environ, query_type)
    for condition in conditions:
        try:
            reader.read(condition)
        except Untranslatable as reason:
            found.dropped[condition] = str(reason)
    reader.finish()
    return found


def split(condition: str) -> tuple[str, str, str] | None:
    """Return a condition's operands and operator as Gatus parses it; None if it cannot."""
    for operator in _OPERATORS:
        parts = condition.split(f" {operator} ")
        if len(parts) > 1:
            return parts[0].strip(), operator, parts[1].strip()
    return None


def operand(text: str) -> Operand:
    """Return the meaning of one side of a condition."""
    inner, function = text, ""
    for name in ("len", "has"):
        if text.startswith(f"{name}(") and text.endswith(")"):
            inner, function = text[len(name) + 1 : -1], name
    upper = inner.strip().upper()
    if upper in _PLAIN:
        return Operand(text, upper, (), function)
    if upper.startswith(("[BODY].", "[BODY][")):
        return Operand(text, "[BODY]", _steps(inner.strip()[len("[BODY]") :]), function)
    if upper.startswith("[CONTEXT]"):
        return Operand(text, "[CONTEXT]", (), function)
    return Operand(text)


def _steps(path: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    for part in _keys(path.removeprefix(".")):
        name, bracket, rest = part.partition("[")
        if name:
            steps.append(name)
        indexes = re.findall(r"\d+|[^\[\]]+", bracket + rest)
        steps.extend(int(index) if index.isdigit() else index for index in indexes)
    return tuple(steps)


def _keys(path: str) -> Iterator[str]:
    """Yield the keys between dots, except dots inside brackets."""
    start = depth = 0
    for place, char in enumerate(path):
        depth += (char == "[") - (char == "]")
        if char == "." and depth == 0:
            yield path[start:place]
            start = place + 1
    yield path[start:]


class _Reader:
    def __init__(
        self, found: Expectations, kind: str, environ: Mapping[str, str], query_type: str
    ) -> None:
        self._found = found
        self._kind = kind
        self._environ = environ
        self._type = query_type
        self._reads_body = False

    def read(self, condition: str) -> None:
        parts = split(condition)
        if parts is None:
            raise Untranslatable("it has no operator; Gatus does not start with it")
        left, operator, right = operand(parts[0]), parts[1], operand(parts[2])
        if not left.what and right.what:
            left, operator, right = right, _FLIPPED[operator], left
        if "[CONTEXT]" in (left.what, right.what):
            raise Untranslatable("a value of another step has no place here")
        if "[DOMAIN_EXPIRATION]" in (left.what, right.what):
            raise Untranslatable("the registration of a domain is not looked up")
        if not left.what:
            self._constant(left.text, operator, right.text)
        elif right.what:
            self._two(condition, left, operator, right)
        else:
            self._one(condition, left, operator, right.text)

    def finish(self) -> None:
        found = self._found
        if self._kind in ("http", "ws"):
            self._write_codes()
        if self._kind == "dns" and "rcode" not in found.expect and not self._reads_body:
            found.expect = {"rcode": list(_RCODES), **found.expect}
        if self._kind == "dns" and not self._reads_body and "answer" not in found.expect:
            found.expect["answer"] = {"count": {"ge": 0}}
        if self._kind == "grpc" and "status" not in found.expect:
            found.expect["status"] = ["SERVING", "NOT_SERVING", "UNKNOWN"]
        elif found.expect.get("status") == "SERVING":
            del found.expect["status"]
        if self._kind == "dns" and found.expect.get("rcode") == "NOERROR":
            del found.expect["rcode"]
        if found.that:
            found.expect["that"] = found.that[0] if len(found.that) == 1 else found.that

    # ------------------------------------------------------------ by operand

    def _one(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        if has_reference(literal) and not (left.is_json and operator in ("==", "!=")):
            if why := without_value(literal, self._environ):
                raise Untranslatable(why)
            literal = resolved(literal, self._environ)
        read = {
            "[STATUS]": self._status,
            "[CONNECTED]": self._connected,
            "[RESPONSE_TIME]": self._response_time,
            "[CERTIFICATE_EXPIRATION]": self._certificate,
            "[IP]": self._ip,
            "[DNS_RCODE]": self._rcode,
            "[BODY]": self._json if left.is_json else self._body,
        }[left.what]
        if left.function and left.what != "[BODY]":
            raise Untranslatable(f"{left.function}() of {left.what} has no counterpart")
        read(condition, left, operator, literal)

    def _constant(self, left: str, operator: str, right: str) -> None:
        if not _holds(left, operator, right):
            raise Untranslatable("it never holds")

    def _status(self, condition: str, _: Operand, operator: str, literal: str) -> None:
        if self._kind in ("tcp", "tls", "starttls", "icmp", "dns", "grpc"):
            if not _holds("0", operator, literal):
                raise Untranslatable("there is no status, so it never holds in Gatus")
            return
        if self._kind == "ssh":
            if not _holds("0", operator, literal):
                raise Untranslatable("no command is run, so there is no exit status")
            return
        good = {code for code in _CODES if _holds(str(code), operator, literal)}
        if not good:
            raise Untranslatable("no status satisfies it")
        known = self._found.codes
        self._found.codes = good if known is None else known & good
        if not self._found.codes:
            raise Untranslatable("no status satisfies it and the conditions before it")
        self._found.ours[condition] = "expect.status"

    def _connected(self, _: str, __: Operand, operator: str, literal: str) -> None:
        if not _holds("true", operator, literal):
            self._found.impossible = (
                "it must not be reachable, which no expectation can say; alert on"
                " probe_success == 1 of a site of its own"
            )

    def _response_time(self, condition: str, _: Operand, operator: str, literal: str) -> None:
        limit = _milliseconds(literal) / 1000
        icmp = self._kind == "icmp"
        if operator in ("<", "<=") and limit > 0 and not icmp:
            self._found.expect["latency"] = show(
                min(limit, _seconds(self._found.expect.get("latency"), limit))
            )
            self._found.ours[condition] = "expect.latency"
        else:
            name = "rtt" if icmp else "latency"
            self._that(condition, f"{name} {operator} {_number(limit)}")
        if self._kind == "http":
            self._found.changed[condition] = (
                "latency is of the whole check; Gatus' time ends with the head of the answer"
            )

    def _certificate(self, condition: str, _: Operand, operator: str, literal: str) -> None:
        limit = _milliseconds(literal) / 1000
        if self._kind in ("tcp", "icmp", "dns", "grpc", "ssh"):
            raise Untranslatable("there is no certificate, so it is 0 in Gatus")
        if operator in (">", ">=") and limit > 0:
            self._found.expect["certificate"] = {"valid_for": show(limit)}
            self._found.ours[condition] = "expect.certificate.valid_for"
        elif operator in (">", ">="):
            raise Untranslatable(
                f"{literal!r} counts as 0 in Gatus, which reads hours and not days; perhaps"
                f" certificate: {{valid_for: {literal}}} is meant"
            )
        else:
            self._that(condition, f"certificate.days_left {operator} {_number(limit / 86400)}")

    def _ip(self, condition: str, _: Operand, operator: str, literal: str) -> None:
        self._that(condition, _text_term("ip", operator, literal))

    def _rcode(self, condition: str, _: Operand, operator: str, literal: str) -> None:
        if self._kind != "dns":
            raise Untranslatable("only an answer of a name server has a response code")
        codes = _members(literal)
        if operator == "==" and all(code in _RCODES for code in codes):
            self._found.expect["rcode"] = codes[0] if len(codes) == 1 else codes
            self._found.ours[condition] = "expect.rcode"
        else:
            others = [code for code in _RCODES if _holds(code, operator, literal)]
            if not others:
                raise Untranslatable("no response code satisfies it")
            self._found.expect["rcode"] = others
            self._found.ours[condition] = "expect.rcode"

    # ------------------------------------------------------------ the body

    def _body(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        self._reads_body = True
        if self._kind in ("tcp", "tls", "ws"):
            self._dialogue(condition, left, operator, literal)
        elif self._kind == "dns":
            self._dns_body(condition, left, operator, literal)
        elif self._kind != "http":
            raise Untranslatable("there is no body")
        elif left.function == "has":
            there = _holds("true", operator, literal)
            self._found.add_rule("body", "matches" if there else "not_matches", r"\S")
            self._found.ours[condition] = "expect.body"
        elif left.function == "len":
            self._body_length(condition, operator, literal)
        elif operator in ("==", "!="):
            key, value = _body_rule(literal)
            if not value:
                if operator == "!=":
                    raise Untranslatable("it never holds")
                return
            self._found.add_rule("body", key if operator == "==" else f"not_{key}", value)
            self._found.ours[condition] = "expect.body"
        else:
            self._found.expect.setdefault("json", {})["$"] = {_WORDS[operator]: _numeric(literal)}
            self._found.ours[condition] = "expect.json"
            self._found.changed[condition] = "a body that is not a number fails; in Gatus it is 0"

    def _body_length(self, condition: str, operator: str, literal: str) -> None:
        limit = _numeric(literal)
        if _holds("1", operator, literal) and not _holds("0", operator, literal):
            self._found.add_rule("body", "matches", r"\S")
            self._found.ours[condition] = "expect.body"
            self._found.changed[condition] = "an empty JSON array counts as a body"
            return
        self._that(condition, f"size(body) {operator} {limit}")
        self._found.changed[condition] = (
            "the length of the text; of a JSON array Gatus counts the items"
        )

    def _dialogue(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        if left.function or operator != "==":
            raise Untranslatable("a dialogue expects a pattern, and nothing else")
        if self._found.bodies:
            raise Untranslatable("a dialogue expects one pattern for each answer")
        key, value = _body_rule(literal)
        self._found.bodies.append((key, value))
        self._found.ours[condition] = "ws.dialogue" if self._kind == "ws" else "tcp.dialogue"

    def _dns_body(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        if left.function == "len" and _holds("1", operator, literal):
            return  # an answer that is not empty is expected anyway
        if left.function or operator not in ("==", "!="):
            raise Untranslatable("answers of name servers are matched by patterns only")
        rule = "matches" if operator == "==" else "not_matches"
        pattern = _record(self._type, _members(literal, globs=True))
        self._found.add_rule("answer", rule, pattern)
        self._found.ours[condition] = "expect.answer"
        if operator == "==":
            self._found.changed[condition] = "any answer may match; Gatus looks at the last one"

    def _json(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        if self._kind == "grpc" and left.path == ("status",) and operator == "==":
            states = _members(literal)
            self._found.expect["status"] = states[0] if len(states) == 1 else states
            self._found.ours[condition] = "expect.status"
            return
        if self._kind != "http":
            raise Untranslatable("JSON is read from answers over HTTP only")
        self._reads_body = True
        path = _json_path(left.path)
        if left.function == "has":
            self._that(condition, _there(left.path, there=_holds("true", operator, literal)))
        elif left.function == "len":
            length: Any = _numeric(literal)
            if operator != "==":
                length = {_WORDS[operator]: length}
            self._json_rule(condition, path, {"length": length})
        elif operator in ("<", "<=", ">", ">="):
            self._json_rule(condition, path, {_WORDS[operator]: _numeric(literal)})
            self._found.changed[condition] = "a value that is missing or no number fails"
        elif literal == "[]":
            rule = {"length": 0} if operator == "==" else {"length": {"gt": 0}}
            self._json_rule(condition, path, rule)
        else:
            self._json_equality(condition, left, operator, literal)

    def _json_equality(self, condition: str, left: Operand, operator: str, literal: str) -> None:
        path = _json_path(left.path)
        if literal == "null":
            if operator == "==":
                raise Untranslatable("it never holds in Gatus, where null is a value not found")
            raise Untranslatable(
                f"it always holds in Gatus; perhaps {path}: {{exists: true}} is meant"
            )
        if literal.startswith("pat(") and literal.endswith(")"):
            key, value = _text_rule(literal[4:-1], "", "")
            if not value:
                return
            if key == "contains":
                key, value = "matches", quoted(value)
            if operator == "==":
                self._json_rule(condition, path, {"matches": value})
            else:
                self._that(condition, f"!({_cel(left)}.matches({_cel_text(value)}))")
            return
        if literal.startswith("any(") and literal.endswith(")"):
            values = ", ".join(_cel_value(_typed(one)) for one in _members(literal))
            term = f"{_cel(left)} in [{values}]"
            self._that(condition, term if operator == "==" else f"!({term})")
            return
        value = literal if has_reference(literal) else _typed(literal)
        self._json_rule(condition, path, value if operator == "==" else {"ne": value})
        if not isinstance(value, str):
            kind = "boolean" if isinstance(value, bool) else "number"
            self._found.changed[condition] = f"a JSON {kind}; Gatus takes the same as a text, too"
        elif operator == "!=":
            self._found.changed[condition] = "the value must be there"

    def _json_rule(self, condition: str, path: str, rule: Any) -> None:
        rules = self._found.expect.setdefault("json", {})
        known = rules.get(path)
        if known is None:
            rules[path] = rule
        elif isinstance(known, dict) and isinstance(rule, dict) and not set(known) & set(rule):
            rules[path] = {**known, **rule}
        else:
            raise Untranslatable("the same value has another condition of this kind")
        self._found.ours[condition] = "expect.json"

    # ------------------------------------------------------------ terms

    def _two(self, condition: str, left: Operand, operator: str, right: Operand) -> None:
        for one in (left, right):
            if one.what == "[CONNECTED]" or (one.what == "[BODY]" and self._kind != "http"):
                raise Untranslatable("there is no such value to compare with")
            self._reads_body = self._reads_body or one.what == "[BODY]"
        self._that(condition, f"{_cel(left)} {operator} {_cel(right)}")

    def _that(self, condition: str, expression: str) -> None:
        self._found.that.append(expression)
        self._found.ours[condition] = "expect.that"

    def _write_codes(self) -> None:
        codes = self._found.codes
        if self._kind == "ws":
            return
        shown = _ranges(set(_CODES) if codes is None else codes)
        if shown != ["2xx"]:
            status = shown[0] if len(shown) == 1 else shown
            self._found.expect = {"status": status, **self._found.expect}


# ---------------------------------------------------------------- pure helpers


def _holds(left: str, operator: str, right: str) -> bool:
    """Return whether a comparison of two texts is true for Gatus."""
    if operator in ("==", "!="):
        return _equal(left, right) is (operator == "==")
    return _COMPARE[operator](_milliseconds(left), _milliseconds(right))


def _equal(left: str, right: str) -> bool:
    for one, other in ((left, right), (right, left)):
        if one.startswith("pat(") and one.endswith(")"):
            return bool(re.fullmatch(f"(?s:{glob_pattern(one[4:-1])})", other))
    for one, other in ((left, right), (right, left)):
        if one.startswith("any(") and one.endswith(")"):
            return other in _members(one)
    first, second = parse_int(left), parse_int(right)
    if first is not None and second is not None:
        return first == second
    return left == right


def _members(literal: str, *, globs: bool = False) -> list[str]:
    """Return the values of ``any(…)``, or the one value."""
    if literal.startswith("any(") and literal.endswith(")"):
        return [one.strip() for one in literal[4:-1].split(",")]
    if not globs and literal.startswith("pat("):
        raise Untranslatable("pat() has no counterpart here")
    return [literal]


def _milliseconds(text: str) -> float:
    """Return a number as Gatus compares it: a duration in whole milliseconds, truncated."""
    duration = parse_duration(text)
    if duration:
        return int(duration * 1000)
    whole = parse_int(text)
    if whole is not None:
        return whole
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return 0


def _numeric(text: str) -> int:
    if parse_duration(text) is None and parse_int(text) is None and not _DECIMAL.fullmatch(text):
        raise Untranslatable(f"{text!r} is not a number, and counts as 0 in Gatus")
    return int(_milliseconds(text))


def _seconds(shown: Any, default: Seconds) -> Seconds:
    found = parse_duration(shown) if isinstance(shown, str) else None
    return default if found is None else found


def _number(value: float) -> str:
    return f"{value:g}" if value % 1 else f"{value:.1f}"


def _typed(literal: str) -> Any:
    """Return the JSON value that a literal most probably means."""
    if literal in ("true", "false"):
        return literal == "true"
    if literal.lower().startswith("0x") and (number := parse_int(literal)) is not None:
        return number
    if _DECIMAL.fullmatch(literal):
        return float(literal) if "." in literal else int(literal)
    return literal


def _ranges(codes: set[int]) -> list[Any]:
    """Return status codes as people write them: 200, 2xx, 200-399."""
    found: list[Any] = []
    left = sorted(codes)
    while left:
        first = last = left[0]
        while last + 1 in codes:
            last += 1
        left = [code for code in left if code > last]
        if first == last:
            found.append(first)
        elif first % 100 == 0 and last == first + 99:
            found.append(f"{first // 100}xx")
        else:
            found.append(f"{first}-{last}")
    return found


def _body_rule(literal: str) -> tuple[str, str]:
    """Return the rule for a whole text that Gatus has trimmed; no value if all texts match."""
    if literal.startswith("pat(") and literal.endswith(")"):
        return _text_rule(literal[4:-1], r"^\s*", r"\s*$")
    values = [quoted(one) for one in _members(literal)]
    inner = values[0] if len(values) == 1 else f"(?:{'|'.join(values)})"
    return "matches", rf"^\s*{inner}\s*$"


def _text_rule(glob: str, start: str, end: str) -> tuple[str, str]:
    """Return ``contains`` or ``matches`` for a glob over a whole text."""
    middle = glob.strip("*")
    literal = not re.search(r"[*?\[\\]", middle)
    if not middle:
        return "matches", ""
    if literal and glob.startswith("*") and glob.endswith("*"):
        return "contains", middle
    pattern = glob_pattern(middle)
    dots = "(?s)" if ".*" in pattern else ""
    begin = "" if glob.startswith("*") else start or "^"
    close = "" if glob.endswith("*") else end or "$"
    return "matches", f"{dots}{begin}{pattern}{close}"


def _record(kind: str, literals: list[str]) -> str:
    """Return the pattern of a record with one of these values, as answers show it."""
    if kind == "SRV":
        data = [_service(literal) for literal in literals]
    elif len(literals) == 1 and literals[0].startswith("pat(") and literals[0].endswith(")"):
        data = [glob_pattern(literals[0][4:-1])]
    else:
        data = [quoted(literal) for literal in literals]
    inner = data[0] if len(data) == 1 else f"(?:{'|'.join(data)})"
    before, after = {"MX": (r"\d+ ", ""), "TXT": ('"', '"')}.get(kind, ("", ""))
    return f" {kind} {before}{inner}{after}$"


def _service(literal: str) -> str:
    host, colon, port = literal.rpartition(":")
    if not colon or not port.isdigit():
        raise Untranslatable("a pattern of SRV must name host and port")
    return rf"\d+ \d+ {port} {quoted(host)}"


def _json_path(steps: tuple[Step, ...]) -> str:
    out = "$"
    for step in steps:
        if isinstance(step, int):
            out += f"[{step}]"
        elif _NAME.fullmatch(step):
            out += f".{step}"
        else:
            out += f"[{json.dumps(step, ensure_ascii=False)}]"
    return out


def _cel(one: Operand) -> str:
    if one.what == "[BODY]" and not one.path:
        term = "body"
    elif one.what == "[BODY]":
        term = _cel_steps(one.path)
    else:
        term = {
            "[STATUS]": "status",
            "[IP]": "ip",
            "[RESPONSE_TIME]": "latency * 1000.0",
            "[DNS_RCODE]": "rcode",
            "[CERTIFICATE_EXPIRATION]": "certificate.days_left * 86400000.0",
        }[one.what]
    if one.function == "has":
        return _there(one.path, there=True)
    return f"size({term})" if one.function == "len" else term


def _cel_steps(steps: tuple[Step, ...]) -> str:
    out = "json"
    for step in steps:
        if isinstance(step, str) and _is_field(step):
            out += f".{step}"
        else:
            out += f"[{_cel_value(step)}]"
    return out


def _is_field(name: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(name)) and name not in _KEYWORDS


def _there(steps: tuple[Step, ...], *, there: bool) -> str:
    """Return the expression that a path has a value other than null, or has none."""
    clauses = []
    for place, step in enumerate(steps):
        above = _cel_steps(steps[:place])
        if isinstance(step, int):
            clauses.append(f"size({above}) > {step}")
        elif _is_field(step):
            clauses.append(f"has({above}.{step})")
        else:
            clauses.append(f"{_cel_text(step)} in {above}")
    clauses.append(f"{_cel_steps(steps)} != null")
    whole = " && ".join(clauses)
    return whole if there else f"!({whole})"


def _text_term(name: str, operator: str, literal: str) -> str:
    if operator not in ("==", "!="):
        raise Untranslatable("texts have no order")
    if literal.startswith("pat(") and literal.endswith(")"):
        glob = literal[4:-1]
        stem = glob.rstrip("*")
        if glob.endswith("*") and not re.search(r"[*?\[\\]", stem):
            term = f"{name}.startsWith({_cel_text(stem)})"
        else:
            term = f"{name}.matches({_cel_text(f'^{glob_pattern(glob)}$')})"
        return term if operator == "==" else f"!{term}"
    values = [_cel_text(one) for one in _members(literal)]
    if len(values) == 1:
        return f"{name} {operator} {values[0]}"
    term = f"{name} in [{', '.join(values)}]"
    return term if operator == "==" else f"!({term})"


def _cel_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _cel_text(value) if isinstance(value, str) else str(value)


def _cel_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
