"""CEL: what an expression sees, its message when it is not true, and that it always ends."""

import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis import expression
from monitor.analysis.expression import FUNCTIONS, VARIABLES, parse_expression, why_not_all
from monitor.analysis.seen import Seen
from monitor.model import DnsAnswer, GrpcAnswer, IcmpAnswer, Job, WebSocketAnswer
from tests.analysis.answers import SEEN, hops, http, message, tls

SHOP = http(
    b'{"status": "ok", "count": 3, "big": 9007199254740993, "none": null,'
    b' "items": [{"n": 1}, {"n": 2}]}',
    ("Content-Type", "application/json"),
    ("Via", "a"),
    ("via", "b"),
    url="https://www.example.com/final",
    redirects=hops(2),
)
DNS = DnsAnswer(rcode="NOERROR", flags=("AD",), answer=("example.com. 300 IN A 192.0.2.1",))
PING = IcmpAnswer(sent=4, received=3, round_trips=(0.01, 0.02, 0.03))


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("status == 200 && status / 100 == 2", SHOP),
        ('headers["via"] == "a, b" && !("server" in headers)', SHOP),
        ('body.contains("status") && body.matches("cou.t")', SHOP),
        ('json.status == "ok" && size(json.items) == 2 && json.none == null', SHOP),
        ("json.big == 9007199254740993 && json.big != 9007199254740992", SHOP),
        ("json.items.all(i, i.n > 0) && json.items.exists(i, i.n == 2)", SHOP),
        ("json.items.map(i, i.n * 2) == [2, 4]", SHOP),
        ("json.items.map(i, i.n > 1, i.n) == [2]", SHOP),
        ("json.items.filter(i, i.n > 1).size() == 1 && json.items.exists_one(i, i.n == 1)", SHOP),
        ("json.items.all(i, json.items.exists(j, j.n >= i.n))", SHOP),
        ("has(json.status) && !has(json.gone) && type(json.count) == double", SHOP),
        ("latency < 1 && latency > 0.4 && latency == 0.5", SHOP),
        ('url == "https://www.example.com/final" && redirects == 2', SHOP),
        ('ip.startsWith("192.0.2.") && http_version == "1.1"', SHOP),
        (
            "certificate.days_left > 59.9 && certificate.days_left < 60.1 && certificate.verified",
            SHOP,
        ),
        ('certificate.issuer == "CN=Test CA" && certificate.subject.endsWith("example.com")', SHOP),
        ('"*.example.com" in certificate.names && tls_version == "TLS 1.3"', SHOP),
        ('certificate.not_after > timestamp("2026-12-31T00:00:00Z")', SHOP),
        ('rcode == "NOERROR" && answers[0].endsWith("192.0.2.1")', DNS),
        ('"AD" in flags && !("TC" in flags)', DNS),
        ("loss == 0.25 && rtt > 0.019 && rtt < 0.021", PING),
        (
            'status == 101 && headers["upgrade"] == "websocket"',
            WebSocketAnswer(status=101, upgraded=True, headers=(("Upgrade", "websocket"),)),
        ),
        ('status == "SERVING"', GrpcAnswer(status_code=0, serving_status="SERVING")),
        ('url == "https://shop.example.org/health"', DNS),
        # A missing variable matters only where it is looked at
        ('status == 200 || rcode == "NOERROR"', SHOP),
        (
            '"all(x, " == "all(x, " && json.items.all(x, "), (" != r"\\" && x.n > 0) // .all(y, ("',
            SHOP,
        ),
    ],
)
def test_an_expression_sees_the_answer(source, answer):
    """Every variable has the value that the reference promises."""
    assert message(answer, {"that": source}, tls=tls()) == ""


NUMBERS = """
json.n + 1.0 > 0.0 | 2 1.5
json.n + 1 > 0 | 2 1.5
json.n - 0.5 >= 1 | 2 1.5
json.n * 100 / json.m < 70 | 2 1.5
-json.n + 1 < 0 | 2 1.5
json.n / 2 == 1 | 2
json.n / 2 < 0.8 | 1.5
json.n == 2 | 2
json.n != 2 | 1.5
json.n > 1 && json.n < 3 | 2 1.5
json.n in [1, 2] | 2
2 in [json.n] | 2
json.n % 2 == 0 | 2
json.n % 2 + 1 == 1 | 2
json.m % json.n == 1 | 2
-json.m % 2 == -1 | 2 1.5
json.list[json.n] == 30 | 2
json.list[json.n - 1] == 20 | 2
json.list[0] == 10 | 2 1.5
size(json.list) > json.n | 2 1.5
size(json.list) * json.n > 4 | 2 1.5
size(json.list) - 1 == json.n | 2
json.list.size() + json.n > 4 | 2 1.5
int("5") + json.n > 6 | 2 1.5
int(json.text) + 1 == 6 | 2 1.5
int(json.n) % 2 == 0 | 2
double(json.text) + json.n > 6 | 2 1.5
string(json.n) == "2" | 2
json.text + "1" == "51" | 2 1.5
json.list + [1] == [10, 20, 30, 1] | 2 1.5
json.list.map(x, x + json.n)[0] > 11 | 2 1.5
json.list.all(x, x / json.n > 4 && x % 10 == 0) | 2 1.5
json.list.exists(x, x + 8 == json.list[1] + json.n - 4) | 2
status / 100 == 2 && json.n + 1 > 0 | 2 1.5
json.n > 1 ? json.n + 1 > 2 : false | 2 1.5
json["n"] + 1 > 0 // json.n + " | 2 1.5
json.big == 9007199254740993 && json.big + json.n > 1 | 2 1.5
{"a": json.n + 1}["a"] > 2 | 2 1.5
timestamp("2026-01-01T00:00:00Z") + duration("1h") > timestamp("2026-01-01T00:00:00Z") && json.n + 1 > 0 | 2 1.5
"""  # noqa: E501  a row is a line


@pytest.mark.parametrize(
    ("source", "good"),
    [row.rsplit(" | ", 1) for row in NUMBERS.strip().splitlines()],
)
@pytest.mark.parametrize("number", ["2", "2.0", "1.5"])
def test_numbers_out_of_json_are_of_one_kind(source, good, number):
    """Only the value of a number in JSON counts, not whether it is written 2 or 2.0."""
    body = f'{{"n": {number}, "m": 3, "list": [10, 20, 30], "text": "5", "big": 9007199254740993}}'
    why = message(http(body.encode()), {"that": source}, tls=tls())
    assert (why == "") == (str(float(number)).removesuffix(".0") in good.split()), why


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("json.n % 2 == 0", "cannot be evaluated: 1.5 % 2 takes whole numbers (json.n is 1.5)"),
        ("json.m % 0 == json.n", "cannot be evaluated: division by zero (json.m is 3, json.n is"),
        ('json.text + 1 == "51"', "cannot be evaluated: Unsupported operation: string + int"),
        ("json.none + 1 == 1", "cannot be evaluated: Unsupported operation: null + int"),
        ("json.m + 1.5 == 5.5", "is false (json.m is 3)"),
        ("json.n + 1 > 0 && json.gone > 1", "cannot be evaluated: "),
    ],
)
def test_arithmetic_that_is_wrong_says_why(source, why):
    """An operation that is wrong for any number stays an error, and the message explains it."""
    body = b'{"n": 1.5, "m": 3, "text": "5", "none": null}'
    told = message(http(body), {"that": source})
    assert f"{source} {why}" in told


ORDERS = [
    ("json.l.exists(x, x > 3)", ""),
    ("json.l.all(x, x > 3)", "is false"),
    ("!json.l.all(x, x > 3)", ""),
    ("json.l.exists(x, x > 9)", "cannot be evaluated"),
    ("!json.l.exists(x, x > 9)", "cannot be evaluated"),
    ("json.l.all(x, x < 9)", "cannot be evaluated"),
    ("!json.l.all(x, x < 9)", "cannot be evaluated"),
    ("json.l.exists(x, x > 9) || json.l.size() == 3", ""),
    ("json.l.exists(x, json.l.all(y, y <= x))", "cannot be evaluated"),
    ("json.l.exists(x, json.l.exists(y, y > x && x > 0))", ""),
    ("json.l.exists_one(x, x > 3)", "cannot be evaluated"),
    ("json.l.exists(x, x + 1 == 6)", ""),
    ('json.l.exists(x, x.startsWith("a"))', ""),
]


@pytest.mark.parametrize(("source", "why"), ORDERS)
def test_the_order_of_elements_does_not_matter(source, why):
    """As in CEL, all and exists are && and ||: a deciding element overrides others' errors."""
    for elements in itertools.permutations(["1", '"a"', "5"]):
        told = message(http(f'{{"l": [{", ".join(elements)}]}}'.encode()), {"that": source})
        assert told == "" if why == "" else f"{source} {why}" in told


def test_no_element_that_cannot_be_looked_at_holds_a_worker():
    """A second evaluation, after an error, ends within the time limit too."""
    body = b'{"l": [' + b'"a",' * 20_000 + b"1]}"
    begin = time.thread_time()
    source = "json.l.exists(x, json.l.all(y, y > x))"
    seen = Seen(Job(observation=replace(SEEN, answer=http(body))))
    found = why_not_all((parse_expression(source),), seen, limit=0.05)
    assert found == f"expression {source} took more than 0.05s of computing"
    assert time.thread_time() - begin < 10


def test_every_variable_and_function_is_one_the_library_knows():
    """Every name that the parser accepts can be used: no call fails because it is unknown."""
    calls = {
        "size": "size(body)",
        "matches": "body.matches('a')",
        "contains": "body.contains('a')",
        "startsWith": "body.startsWith('a')",
        "endsWith": "body.endsWith('a')",
        "int": "int(status)",
        "uint": "uint(status)",
        "double": "double(status)",
        "string": "string(status)",
        "bytes": "bytes(body)",
        "timestamp": "timestamp('2026-01-01T00:00:00Z')",
        "duration": "duration('1s')",
        "type": "type(body)",
        "dyn": "dyn(body)",
        "none": "optional.none()",
        "of": "optional.of(1)",
        "ofNonZeroValue": "optional.ofNonZeroValue(1)",
        "hasValue": "optional.of(1).hasValue()",
        "value": "optional.of(1).value()",
        "or": "optional.of(1).or(optional.of(2))",
        "orValue": "optional.of(1).orValue(2)",
        **{name: f"certificate.not_after.{name}()" for name in FUNCTIONS if name.startswith("get")},
    }
    assert calls.keys() == FUNCTIONS
    for call in calls.values():
        assert message(http(), {"that": f"status == 200 && [{call}].size() == 1"}, tls=tls()) == ""
    assert all(parse_expression(f"dyn({name}) == 1") for name in VARIABLES)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ('json.status == "up"', 'is false (json.status is "ok")'),
        ("latency < 0.1", "is false (latency is 0.5)"),
        (
            'status == 201 || headers["via"] == "c" || json.items[0].n > 4 || redirects > 2',
            'is false (status is 200, headers["via"] is "a, b", json.items[0].n is 1)',
        ),
        ("json.items.size() > 2", 'is false (json.items is [{"n": 1}, {"n": 2}])'),
        ("json.gone.x == 1", 'cannot be evaluated: there is no "gone"'),
        ("json.items[7].n == 1", "cannot be evaluated: there is no element 7"),
        (
            "json.status > 3",
            (
                "cannot be evaluated: a value has a type that the operation does not take "
                '(json.status is "ok")'
            ),
        ),
        (
            'json.status + 1 == "ok1"',
            'cannot be evaluated: Unsupported operation: string + int (json.status is "ok")',
        ),
        (
            "1 / (status - 200) == 1",
            "cannot be evaluated: division by zero in CEL expression (status is 200)",
        ),
        (
            "json.big * json.big > 1",
            (
                "cannot be evaluated: Arithmetic overflow in 'mul' on 9007199254740993 and "
                "9007199254740993 (json.big is 9007199254740993)"
            ),
        ),
        ("json.count", "is neither true nor false (json.count is 3)"),
        ("rcode == 'NOERROR'", "cannot be evaluated: there is no DNS reply to look at"),
        ("certificate.days_left > 1", "cannot be evaluated: the connection was not over TLS"),
        (
            "json.status.matches(json.status + '(')",
            "cannot be evaluated: 'ok(' is not a pattern: unclosed group (json.status is \"ok\")",
        ),
        (
            "size(status) == 1",
            "cannot be evaluated: there is no 'size' with these arguments (status is 200)",
        ),
    ],
)
def test_an_expression_that_is_not_true_says_why(source, why):
    """It is false or cannot be evaluated, and the message has the values it looked at."""
    assert message(SHOP, {"that": source}) == f"expression {source} {why}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", 'body is not JSON: expecting value in line 1, column 1: "<html>"'),
        (b'"\\ud800"', "json holds what CEL cannot: half a character, or a huge integer"),
        (b"1" + b"0" * 400, "json holds what CEL cannot: half a character, or a huge integer"),
        (b"[" * 600 + b"]" * 600, f'body nests deeper than 500 levels: "{"[" * 100}…"'),
    ],
    ids=["no JSON", "half a surrogate pair", "huge integer", "deep"],
)
def test_a_body_that_cannot_be_looked_at_breaks_the_expression(body, why):
    """The expression neither passes by accident nor ends the worker."""
    source = "size(json) < 5 || json != 5"
    found = message(http(body), {"that": source})
    assert found == f"expression {source} cannot be evaluated: {why}"


def test_a_body_that_was_cut_is_not_looked_at():
    """An expression that is true only of the beginning must not pass."""
    assert message(http(b"abc", truncated=True), {"that": "!body.contains('error')"}) == (
        "expression !body.contains('error') cannot be evaluated: body was cut after 3 bytes"
    )


def test_a_health_service_without_a_status_is_named():
    """The message is that of the expectation ``status``, with the gRPC code."""
    assert message(GrpcAnswer(status_code=14), {"that": 'status != "SERVING"'}) == (
        'expression status != "SERVING" cannot be evaluated: '
        "the health service gave no status (gRPC code 14)"
    )


def test_deep_json_reaches_the_library_whole():
    """The library handles 500 levels."""
    assert (
        message(http(b"[" * 500 + b"]" * 500), {"that": "json.size() == 1 && json == json"}) == ""
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 +", "1 + is not a CEL expression: mismatched input 'the end' at character 4"),
        (
            "status ==\n= 1",
            "status ==\\n= 1 is not a CEL expression: token recognition error at: '= ' at line 2",
        ),
        (
            "json.a.filter(x, x ==)",
            "json.a.filter(x, x ==) is not a CEL expression: mismatched input ')'",
        ),
        ("stauts == 200", "unknown variable 'stauts'; did you mean 'status'?"),
        ("json.x.all(i, j > 1)", "unknown variable 'j'; choose from answers, body, certificate"),
        ("bodi.size() > 1", "unknown variable 'bodi'; did you mean 'body'?"),
        ("body.startWith('a')", "unknown function 'startWith'; did you mean 'startsWith'?"),
        ("json.exists(json)", "exists takes a name and an expression, as in exists(x, x > 0)"),
        ("1 == 1", "1 == 1 looks at nothing of the answer; it may use status, headers"),
        ("'ok'", "'ok' looks at nothing of the answer; it may use status, headers"),
        ("body.matches('(')", "'(' is not a pattern: unclosed group"),
        ("body.matches(r'a{2,1}')", "'a{2,1}' is not a pattern: invalid repetition count range"),
        ("'\ud800' == body", "'\\ud800' == body is not a CEL expression"),
        ("status == 1 ||" * 600 + "true", "the expression is longer than 8192 characters"),
        ("(" * 4000 + "status" + ")" * 4000, "(((((((((("),
        ("", "'' is not an expression; put it in quotes"),
        (None, "None is not an expression; put it in quotes"),
    ],
)
def test_a_mistake_is_named_when_it_is_read(source, why):
    """Wrong syntax, unknown names and bad patterns are refused with the configuration."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is the point
        parse_expression(source)
    assert str(caught.value).startswith(why)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ('latency < duration("300ms")', "a value has a type that the operation does not take"),
        ("latency * 1000 < 300", "Unsupported operation: float * int"),
        ("certificate.days_left", "it is neither true nor false"),
        ("rtt.getSeconds() > 1", "there is no 'getSeconds' with these arguments"),
        ("!status", "a value has a type that the operation does not take"),
        ("headers['content-type'] > 5", "a value has a type that the operation does not take"),
    ],
)
def test_a_type_that_is_always_wrong_is_told_when_it_is_read(source, why):
    """The error says what the variable is, for any protocol."""
    (name,) = expression._compile(source).variables
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is the point
        parse_expression(source)
    doc = VARIABLES[name].doc
    assert str(caught.value) == f"{source} cannot be evaluated: {why}; {name} is {doc}"


@pytest.mark.parametrize(
    "source",
    [
        "headers['x-load'] > 5",
        "int(body) > 5",
        "json > duration('1s')",
        "json.all(x, x) && latency < duration('1s')",
        "latency < 1 || rtt > 0.5 || loss < 1",
        "latency < 0.3 && latency < 1 && latency * 1000.0 < 300.0",
        "status == 200 ? certificate.verified : body > 5",
        "certificate.verified == null || answers[7] == 'a'",
        "body == 5",
        "size(status) == 7",
        "status / 100 == 2",
    ],
)
def test_what_depends_on_the_answer_is_not_told_when_it_is_read(source):
    """This covers missing keys, JSON, other branches, comprehensions and other protocols."""
    assert parse_expression(source) == source


def test_the_type_is_the_protocols():
    """The status of gRPC is text, and that of other protocols is a number."""
    expression.check_protocol("size(status) == 7", "grpc")
    with pytest.raises(TypeError, match="http checks cannot evaluate it: there is no 'size' with"):
        expression.check_protocol("size(status) == 7", "http")


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("http", SHOP),
        ("ws", WebSocketAnswer(status=101, upgraded=True)),
        ("grpc", GrpcAnswer(status_code=0, serving_status="SERVING")),
        ("dns", DNS),
        ("icmp", PING),
    ],
)
def test_samples_are_of_the_right_type(protocol, answer):
    """The samples that try an expression have the same types as the values in a check."""

    def shape(value):
        if isinstance(value, dict) and name == "certificate":
            return {key: shape(one) for key, one in value.items()}
        return type(value)

    seen = Seen(Job(observation=replace(SEEN, answer=answer, tls=tls()), url="https://a.test"))
    looked_at = 0
    for name, variable in VARIABLES.items():
        if name != "json" and (not variable.protocols or protocol in variable.protocols):
            sample = variable.samples.get(protocol, variable.sample)
            assert shape(variable.get(seen)) == shape(sample), name
            looked_at += 1
    assert looked_at >= 5


@pytest.mark.parametrize("length", [8000, 8190])
def test_the_longest_expressions_are_harmless(length):
    """An expression that overflows the library's stack is far longer than the limit."""
    for source in ("status" + "+1" * (length // 2 - 5), "json" + ".a" * (length // 2 - 3)):
        parse_expression(f"{source}==1"[:8192])
        assert message(http(b"{}"), {"that": f"{source}==1"[:8192]}).startswith("expression ")


@given(st.text(max_size=40) | st.text("()[]{}.,'\"\\|&?:=+-!jsontalmpfierx 01\n", max_size=40))
def test_any_text_is_an_expression_or_a_sentence(source):
    """No text makes the parser raise anything but ValueError, and what it accepts never crashes."""
    try:
        parse_expression(source)
    except ValueError:
        return
    said = message(SHOP, {"that": source})
    assert said.encode().decode() == said


@pytest.mark.parametrize(
    "source",
    [
        "json.filter(x, x.a >= 0).size() > 1",
        "json.map(x, x).size() > 1",
        "json.map(x, x.a >= 0, x).size() > 1",
        "json.all(x, json.all(y, y.a >= 0))",
        "json.exists(x, json.exists(y, y.a < 0))",
        "json.exists_one(x, json.exists_one(y, y.a < 0))",
        'json.all(x, !({"b": 1} in json))',
        "json.all(x, json.map(y, y) == json)",
        "json.all(x, json.all(y, json.all(z, z.a >= 0) || true) || true)",
    ],
)
def test_no_list_holds_a_worker(source):
    """A comprehension over a hostile list ends at the time limit, and the check fails."""
    body = b"[" + b'{"a":1},' * 30_000 + b'{"a":1}]'
    seen = Seen(Job(observation=replace(SEEN, answer=http(body))))
    started = time.thread_time()
    found = why_not_all((parse_expression(source),), seen, limit=0.05)
    assert found == f"expression {source} took more than 0.05s of computing"
    # Unbounded, the cheapest of these takes half a minute
    assert time.thread_time() - started < 10


def test_a_long_list_is_no_fault():
    """An expression of linear time stays far below the limit."""
    body = b"[" + b"1," * 100_000 + b"1]"
    assert message(http(body), {"that": "json.all(x, x == 1) && !json.exists(x, x < 0)"}) == ""


def test_only_the_extension_of_the_library_is_loaded(in_new_process):
    """The package's command line (typer, rich, prompt_toolkit) would cost each worker 25 MB."""
    assert "prompt_toolkit" not in in_new_process(
        "from monitor.analysis.expression import parse_expression; parse_expression('status == 1')"
    )
    assert expression.parse_expression("status == 1")
    import cel  # noqa: PLC0415  the point of the test: both can be there

    assert cel.compile("1 + 1").execute({}) == 2
