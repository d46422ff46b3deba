"""Each expectation: when it holds, the message when it does not, and what cannot be one."""

import contextlib
import json
import pickle
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.judge import judge
from monitor.model import (
    DnsAnswer,
    GrpcAnswer,
    Hop,
    IcmpAnswer,
    Job,
    Observation,
    Reason,
    TcpAnswer,
    WebSocketAnswer,
)
from tests.analysis.answers import DAY, NOW, analysed, decoded, hops, http, message, pem, tls

HTML = ("Content-Type", "text/html")
DOCUMENT = http(
    b'{"status": "degraded", "n": 3, "on": true, "none": null, "f": 1.0,'
    b' "items": [{"id": 1}, {"id": 2}], "a b": {"c.d": "x"}, "date": "2026-11-22"}'
)
REPLY = DnsAnswer(
    rcode="NOERROR",
    flags=("RA", "AD"),
    answer=("example.com. 300 IN A 192.0.2.1", "example.com. 300 IN A 192.0.2.2"),
)
EMPTY_REPLY = DnsAnswer(rcode="NOERROR")
NOWHERE = DnsAnswer(rcode="NXDOMAIN")

# key, as written in YAML, the answer (with the handshake where it matters), the message
EXAMPLES = [
    ("status", "2xx", http(status=204), ""),
    ("status", ["2xx", 304], http(status=304), ""),
    ("status", "200-299", http(status=299), ""),
    ("status", 404, http(status=404), ""),
    ("status", "2xx", http(status=503), "status 503 is not in 2xx"),
    ("status", ["2XX", 304], http(status=302), "status 302 is not in 2XX, 304"),
    ("status", "200-204", http(status=205), "status 205 is not in 200-204"),
    ("status", 200, http(status=204), "status 204 is not 200"),
    ("status", 101, WebSocketAnswer(status=101, upgraded=True), ""),
    ("status", 101, WebSocketAnswer(status=403, upgraded=False), "status 403 is not 101"),
    ("status", "SERVING", GrpcAnswer(status_code=0, serving_status="SERVING"), ""),
    (
        "status",
        "SERVING",
        GrpcAnswer(status_code=0, serving_status="NOT_SERVING"),
        "status NOT_SERVING is not SERVING",
    ),
    (
        "status",
        "SERVING",
        GrpcAnswer(status_code=14),
        "the health service gave no status (gRPC code 14)",
    ),
    ("status", "2xx", TcpAnswer(), "there is no status to look at"),
    ("header", {"content-type": "^application/json"}, http(), ""),
    ("header", {"Content-Type": {"contains": ["application", "json"]}}, http(), ""),
    (
        "header",
        {"content-type": "^text/"},
        http(),
        'header content-type "application/json" does not match "^text/"',
    ),
    (
        "header",
        {"content-type": {"contains": "text"}},
        http(),
        'header content-type "application/json" does not contain "text"',
    ),
    ("header", {"x-cache": "HIT"}, http(), "header x-cache is missing"),
    ("header", {"x-cache": {"absent": False}}, http(), "header x-cache is missing"),
    ("header", {"x-cache": {"absent": True}}, http(), ""),
    ("header", {"x-cache": {"not_contains": "HIT"}}, http(), ""),
    ("header", {"x-cache": {"matches": "HIT", "absent": "allowed"}}, http(), ""),
    (
        "header",
        {"x-cache": {"matches": "HIT", "absent": "allowed"}},
        http(b"", ("X-Cache", "MISS")),
        'header x-cache "MISS" does not match "HIT"',
    ),
    (
        "header",
        {"server": {"absent": True}},
        http(b"", ("Server", "nginx/1.2")),
        'header server "nginx/1.2" must be absent',
    ),
    (
        "header",
        {"server": {"not_matches": r"\d"}},
        http(b"", ("Server", "nginx/1.2")),
        r'header server "nginx/1.2" matches "\\d"',
    ),
    ("header", {"x-city": "^Zürich$"}, http(b"", ("X-City", "ZÃ¼rich")), ""),
    ("header", {"x-city": "^Zürich$"}, http(b"", ("X-City", "Zürich")), ""),
    (
        "header",
        {"x-city": "Bern"},
        http(b"", ("X-City", "æ\x9d±äº¬")),
        'header x-city "東京" does not match "Bern"',
    ),
    ("header", {"via": "b"}, http(b"", ("Via", "a"), ("via", "b")), ""),
    (
        "header",
        {"via": {"not_contains": "b"}},
        http(b"", ("Via", "a"), ("via", "b")),
        'header via "b" contains "b"',
    ),
    (
        "header",
        {"via": "c"},
        http(b"", ("Via", "a"), ("via", "b")),
        'header via "a", "b" does not match "c"',
    ),
    (
        "header",
        {"upgrade": "websocket"},
        WebSocketAnswer(status=101, upgraded=True, headers=(("Upgrade", "websocket"),)),
        "",
    ),
    ("header", {"server": "x"}, None, "there is no HTTP answer to look at"),
    ("body", "(?i)WELCOME", http(b"<h1>Welcome</h1>"), ""),
    ("body", ["Wel", {"contains": "come", "not_matches": "down"}], http(b"Welcome"), ""),
    ("body", {"contains": "ok"}, http(b"<p>busy"), 'body "<p>busy" does not contain "ok"'),
    ("body", "^ok$", http(b"not ok"), 'body "not ok" does not match "^ok$"'),
    (
        "body",
        {"not_contains": "error"},
        http(b"x" * 50 + b" error " + b"y" * 50),
        f'body "…{"x" * 29} error {"y" * 29}…" contains "error"',
    ),
    (
        "body",
        {"not_matches": "(?i)maintenance"},
        http(b"Under Maintenance."),
        'body "Under Maintenance." matches "(?i)maintenance"',
    ),
    (
        "body",
        {"contains": "ok"},
        http(b"b" * 150),
        f'body "{"b" * 100}…" does not contain "ok"',
    ),
    ("body", {"contains": "ok"}, http(b"ok", truncated=True), ""),
    (
        "body",
        {"contains": "ok"},
        http(b"ab", truncated=True),
        'body "ab" does not contain "ok"; body was cut after 2 bytes',
    ),
    (
        "body",
        {"not_contains": "error"},
        http(b"ab", truncated=True),
        "body was cut after 2 bytes, so what must not be in it may still follow",
    ),
    (
        "body",
        "x",
        http(b"a\x00\x1b[1m\xe2\x80\xae"),
        r'body "a\u0000\u001b[1m\u202e" does not match "x"',
    ),
    ("json", {"$.status": "degraded", "$.n": 3, "$.f": 1, "$.none": None}, DOCUMENT, ""),
    ("json", {'$.items[-1]["id"]': 2, "$['a b'][\"c.d\"]": "x"}, DOCUMENT, ""),
    ("json", {"$.items": [{"id": 1}, {"id": 2.0}]}, DOCUMENT, ""),
    ("json", {"$.items[0]": {"eq": {"id": 1}}}, DOCUMENT, ""),
    ("json", {"$.n": {"ne": 4, "gt": 2, "ge": 3, "lt": 4, "le": 3}}, DOCUMENT, ""),
    ("json", {"$.date": {"ge": "2026-01-01"}}, DOCUMENT, ""),
    ("json", {"$.gone": {"exists": False}, "$.none": {"exists": True}}, DOCUMENT, ""),
    ("json", {"$.items": {"type": ["array", "null"], "length": 2}}, DOCUMENT, ""),
    ("json", {"$": {"length": {"gt": 5}, "contains": "status"}}, DOCUMENT, ""),
    ("json", {"$.items": {"contains": {"id": 1}}}, DOCUMENT, ""),
    ("json", {"$.status": {"matches": "^de", "contains": ["gra"], "length": "1-8"}}, DOCUMENT, ""),
    ("json", {"$.status": "ok"}, DOCUMENT, 'json $.status "degraded" is not "ok"'),
    ("json", {"$.n": True}, http(b'{"n": 1}'), "json $.n 1 is not true"),
    ("json", {"$.on": {"ne": True}}, DOCUMENT, "json $.on true is not other than true"),
    ("json", {"$.n": {"gt": 3}}, DOCUMENT, "json $.n 3 is not above 3"),
    ("json", {"$.n": {"ge": 4}}, DOCUMENT, "json $.n 3 is not at least 4"),
    ("json", {"$.n": {"lt": 3}}, DOCUMENT, "json $.n 3 is not below 3"),
    ("json", {"$.n": {"le": 2}}, DOCUMENT, "json $.n 3 is not at most 2"),
    (
        "json",
        {"$.status": {"gt": 3}},
        DOCUMENT,
        'json $.status "degraded" is of type string, not number',
    ),
    ("json", {"$.on": {"gt": 0}}, DOCUMENT, "json $.on true is of type boolean, not number"),
    ("json", {"$.n": {"exists": False}}, DOCUMENT, "json $.n 3 must be absent"),
    ("json", {"$.gone": 1}, DOCUMENT, 'json $.gone is missing: $ has no "gone"'),
    ("json", {"$.gone": {"ne": 1}}, DOCUMENT, 'json $.gone is missing: $ has no "gone"'),
    (
        "json",
        {"$.items[2].id": 1},
        DOCUMENT,
        "json $.items[2].id is missing: the length of $.items is 2",
    ),
    ("json", {"$.status.x": 1}, DOCUMENT, "json $.status.x is missing: $.status is of type string"),
    (
        "json",
        {"$.n": {"type": ["string", "null"]}},
        DOCUMENT,
        "json $.n 3 is of type number, not string or null",
    ),
    (
        "json",
        {"$.items": {"length": {"ge": 3}}},
        DOCUMENT,
        "json $.items length 2 is not at least 3",
    ),
    ("json", {"$.n": {"length": 1}}, DOCUMENT, "json $.n 3 is of type number, which has no length"),
    (
        "json",
        {"$.status": {"matches": "^o"}},
        DOCUMENT,
        'json $.status "degraded" does not match "^o"',
    ),
    ("json", {"$.n": {"matches": "3"}}, DOCUMENT, "json $.n 3 is of type number, not string"),
    (
        "json",
        {"$.items": {"contains": 1}},
        DOCUMENT,
        'json $.items [{"id": 1}, {"id": 2}] does not contain 1',
    ),
    (
        "json",
        {"$.n": {"contains": 3}},
        DOCUMENT,
        "json $.n 3 is of type number, which contains nothing",
    ),
    (
        "json",
        {"$.a": 1},
        http(b"<html>"),
        'body is not JSON: expecting value in line 1, column 1: "<html>"',
    ),
    ("json", {"$.a": 1}, http(b" "), 'body is empty: " "'),
    (
        "json",
        {"$.a": 1},
        http(b'{"a": 1', truncated=True),
        "body was cut after 7 bytes, so it is not JSON",
    ),
    ("latency", "500ms", http(), ""),
    ("latency", {"total": "1s", "connect": "200ms"}, http(), ""),
    ("latency", "400ms", http(), "latency 500ms is over 400ms"),
    ("latency", {"connect": "100ms"}, http(), "latency of connect 120ms is over 100ms"),
    (
        "latency",
        {"transfer": "1s"},
        http(),
        "latency of transfer is not known: there was no such phase",
    ),
    ("certificate", {"valid_for": "14d"}, (http(), tls()), ""),
    (
        "certificate",
        {
            "valid_for": "1w",
            "issuer": "Test",
            "subject": "^CN=example",
            "names": ["shop.example.com", "example.com", "*.example.com"],
        },
        (http(), tls()),
        "",
    ),
    (
        "certificate",
        {"valid_for": "90d"},
        (http(), tls()),
        "certificate expires on 2027-01-21 12:00 UTC, in 60.0 days, less than 90d",
    ),
    (
        "certificate",
        {"issuer": "Let's Encrypt"},
        (http(), tls()),
        'certificate issuer "CN=Test CA" does not match "Let\'s Encrypt"',
    ),
    (
        "certificate",
        {"subject": "O=Shop"},
        (http(), tls()),
        'certificate subject "CN=example.com" does not match "O=Shop"',
    ),
    (
        "certificate",
        {"names": ["example.com", "shop.example.org"]},
        (http(), tls()),
        "certificate for *.example.com, example.com does not cover shop.example.org",
    ),
    ("certificate", {"valid_for": "66%"}, (http(), tls()), ""),
    (
        "certificate",
        {"valid_for": "67.5%"},
        (http(), tls()),
        (
            "certificate expires on 2027-01-21 12:00 UTC, in 60.0 days, less than 67.5% of its "
            "90.0 days"
        ),
    ),
    ("certificate", {"valid_for": "1d"}, http(), "the connection was not over TLS"),
    (
        "certificate",
        {"valid_for": "1d"},
        (http(), tls("no certificate")),
        "the server's certificate cannot be read",
    ),
    ("http_version", ["1.1", 2], http(), ""),
    ("http_version", 2, http(), "HTTP version 1.1 is not 2"),
    ("http_version", ["HTTP/2", 3], http(version="1.0"), "HTTP version 1.0 is not 2 or 3"),
    ("tls", True, (http(), tls()), ""),
    ("tls", False, http(), ""),
    ("tls", True, http(), "the final answer did not come over TLS"),
    ("tls", False, (http(), tls()), "the final answer came over TLS"),
    ("tls_version", "1.3", (TcpAnswer(), tls()), ""),
    ("tls_version", {"min": 1.2}, (TcpAnswer(), tls()), ""),
    (
        "tls_version",
        {"max": "TLS 1.2"},
        (http(), tls()),
        "TLS version 1.3 is not 1.0 or 1.1 or 1.2",
    ),
    ("tls_version", [1.3], (http(), tls(version="TLS 1.2")), "TLS version 1.2 is not 1.3"),
    (
        "tls_version",
        1.3,
        (http(), tls(version=None)),
        "TLS version is not known: there was no handshake",
    ),
    ("tls_version", 1.3, http(), "the connection was not over TLS"),
    ("redirects", 0, http(), ""),
    ("redirects", "1-3", http(redirects=hops(3)), ""),
    ("redirects", {"ge": 1, "lt": 3, "ne": 0}, http(redirects=hops(2)), ""),
    ("redirects", 0, http(redirects=hops(3)), "redirects 3 is not 0"),
    ("redirects", "0-2", http(redirects=hops(3)), "redirects 3 is not at most 2"),
    ("redirects", {"ne": 3}, http(redirects=hops(3)), "redirects 3 is not other than 3"),
    ("that", "json.n == 3 && latency < 1", DOCUMENT, ""),
    (
        "that",
        ["status == 200", 'json.status == "ok"'],
        DOCUMENT,
        'expression json.status == "ok" is false (json.status is "degraded")',
    ),
    (
        "that",
        "loss < 0.5 && rtt < 0.1",
        IcmpAnswer(sent=3, received=2, round_trips=(0.01, 0.02)),
        "",
    ),
    (
        "that",
        "rtt < 0.1",
        IcmpAnswer(sent=3, received=0),
        "expression rtt < 0.1 cannot be evaluated: no packet was answered",
    ),
    ("rcode", "nxdomain", NOWHERE, ""),
    ("rcode", ["NOERROR", "NXDOMAIN"], REPLY, ""),
    ("rcode", "NOERROR", NOWHERE, "rcode NXDOMAIN is not NOERROR"),
    ("rcode", "NOERROR", http(), "there is no DNS reply to look at"),
    ("flags", "ra", REPLY, ""),
    ("flags", ["AD", "RA"], REPLY, ""),
    ("flags", "AA", REPLY, "flag AA is not set; those set are: RA, AD"),
    ("flags", "AA", NOWHERE, "flag AA is not set; those set are: none"),
    ("flags", {"set": "AD", "not_set": ["TC", "AA"]}, REPLY, ""),
    ("flags", {"not_set": ["TC", "RA"]}, REPLY, "flag RA is set; those set are: RA, AD"),
    ("answer", r"192\.0\.2\.1$", REPLY, ""),
    ("answer", {"matches": [r"\.1$", r"\.2$"], "not_matches": "CNAME", "count": 2}, REPLY, ""),
    (
        "answer",
        {"matches": "AAAA"},
        REPLY,
        f'answer "{REPLY.answer[0]}", "{REPLY.answer[1]}" does not match "AAAA"',
    ),
    (
        "answer",
        {"not_matches": r"\.2$"},
        REPLY,
        r'answer "example.com. 300 IN A 192.0.2.2" matches "\\.2$"',
    ),
    ("answer", {"all_match": ["A", r"192\.0\.2\."]}, REPLY, ""),
    (
        "answer",
        {"all_match": r"\.1$"},
        REPLY,
        r'answer "example.com. 300 IN A 192.0.2.2" does not match "\\.1$"',
    ),
    ("answer", {"all_match": "A"}, EMPTY_REPLY, 'answer is empty, so nothing matches "A"'),
    ("answer", {"all_match": "A", "empty": "allowed"}, EMPTY_REPLY, ""),
    (
        "answer",
        {"all_match": r"\.1$", "empty": "allowed"},
        REPLY,
        r'answer "example.com. 300 IN A 192.0.2.2" does not match "\\.1$"',
    ),
    (
        "answer",
        {"all_match": "A", "matches": "B", "empty": "allowed"},
        EMPTY_REPLY,
        'answer is empty, so nothing matches "B"',
    ),
    ("answer", {"matches": "A"}, EMPTY_REPLY, 'answer is empty, so nothing matches "A"'),
    ("answer", {"not_matches": "A"}, EMPTY_REPLY, ""),
    ("answer", {"count": {"ge": 1}}, NOWHERE, "answer count 0 is not at least 1"),
    ("authority", {"count": 0}, REPLY, ""),
    ("additional", {"count": 0}, REPLY, ""),
    ("authority", "SOA", REPLY, 'authority is empty, so nothing matches "SOA"'),
    ("additional", {"count": "1-2"}, REPLY, "additional count 0 is not at least 1"),
]


def _name(value):
    return str(value)[:40] if isinstance(value, str | dict | list | bool | int) else ""


@pytest.mark.parametrize(("key", "written", "seen", "expected"), EXAMPLES, ids=_name)
def test_an_expectation_holds_or_says_why_not(key, written, seen, expected):
    """It passes silently, or breaks with its reason and the value that broke it."""
    answer, session = seen if isinstance(seen, tuple) else (seen, None)
    analysis = analysed(answer, {key: written}, tls=session)
    assert analysis.verdict.message == expected
    assert analysis.verdict.up is (not expected)
    assert analysis.verdict.reason is (EXPECTATIONS[key].reason if expected else None)


@pytest.mark.parametrize("key", EXPECTATIONS)
def test_every_expectation_is_shown_by_an_example_that_holds_and_one_that_does_not(key):
    """The table of examples above covers each expectation."""
    assert {bool(expected) for name, _, _, expected in EXAMPLES if name == key} == {True, False}


@pytest.mark.parametrize(
    ("key", "written"), [(key, written) for key, written, _, _ in EXAMPLES], ids=_name
)
def test_what_is_written_becomes_a_value_that_travels(key, written):
    """Decoded expectations can be pickled, compared by value and hashed."""
    value = decoded(key, written)
    assert pickle.loads(pickle.dumps(value)) == value == decoded(key, written)  # noqa: S301  our own
    assert hash(value) == hash(decoded(key, written))


_KEY_NAMES = """
    contains not_matches absent eq gt exists type length matches total connect valid_for issuer
    names fingerprint min max ge count x-token
"""
KEYS = _KEY_NAMES.split()

MISTAKES = [
    ("status", 99, "99 is not a status such as 204, 2xx, 200-299 or SERVING (gRPC)"),
    ("status", True, "True is not a status such as 204, 2xx, 200-299 or SERVING (gRPC)"),
    ("status", "300-200", "300-200 is empty; the smaller number comes first"),
    ("status", [], "the list is empty; leave the key out to expect nothing"),
    ("header", "nginx", "'nginx' is not a mapping of header names, as in {server: nginx}"),
    ("header", {"a b": "x"}, "'a b' is not the name of a header"),
    (
        "header",
        {"a": {"contain": "x"}},
        "header a: unknown key 'contain'; did you mean 'contains'?",
    ),
    ("header", {"a": []}, "header a: the list is empty; leave the key out to expect nothing"),
    ("header", {"a": {}}, "header a: {} is not a mapping with some of contains, not_contains"),
    ("header", {"a": {"absent": "x"}}, "header a: absent is true, false or allowed, not 'x'"),
    (
        "header",
        {"a": {"absent": True, "contains": "x"}},
        "header a: absent: true cannot be combined with contains",
    ),
    ("header", {"a": {"absent": True, "x": "y"}}, "header a: unknown key 'x'"),
    ("body", "(", "'(' is not an RE2 pattern: missing ): ("),
    ("body", {"matches": "(?=x)"}, "'(?=x)' is not an RE2 pattern: invalid perl operator: (?="),
    ("body", {"contains": 5}, "5 is not a text; put it in quotes"),
    ("body", {"contains": ""}, "an empty text is found everywhere"),
    ("body", {}, "{} is not a mapping with some of contains, not_contains, matches, not_matches"),
    ("json", "ok", "'ok' is not a mapping of paths, as in {$.status: ok}"),
    ("json", {"status": 1}, "'status' is not a path; it starts with $"),
    ("json", {"$.a[*]": 1}, "'$.a[*]' is not a path from its character 4 on"),
    ("json", {"$..a": 1}, "'$..a' is not a path from its character 2 on"),
    ("json", {"$.a": {"lenght": 1}}, "$.a: unknown key 'lenght'; did you mean 'length'?"),
    ("json", {"$.a": {"b": 1}}, "$.a: unknown key 'b'; choose from eq, ne, gt"),
    ("json", {"$.a": {"gt": True}}, "$.a: True is neither a number nor a text, so it has no order"),
    ("json", {"$.a": {"type": "int"}}, "$.a: unknown type 'int'; choose from null, boolean"),
    ("json", {"$.a": {"exists": "no"}}, "$.a: 'no' is not true or false"),
    ("json", {"$.a": {"exists": False, "eq": 1}}, "$.a: exists: false cannot be combined"),
    ("json", {"$.a": float("nan")}, "$.a: nan is not a JSON value"),
    ("latency", 5, "5 has no unit; write 5s, or another of ms, s, m, h, d, w"),
    ("latency", "0s", "latency must be more than 0s"),
    ("latency", {"conect": "1s"}, "unknown key 'conect'; did you mean 'connect'?"),
    ("certificate", {"valid_for": 14}, "14 has no unit"),
    ("certificate", {"valid_for": "100%"}, "'100%' of a lifetime is not between 0% and 100%"),
    ("certificate", {"valid_for": "a third"}, "'a third' is not a duration"),
    ("certificate", {"expires": "14d"}, "unknown key 'expires'; choose from valid_for, issuer"),
    ("certificate", {"fingerprint": "ab:cd"}, "'ab:cd' is not a SHA-256 fingerprint"),
    ("http_version", "4", "'4' is not a version of HTTP; there are 1.0, 1.1, 2, 3"),
    ("tls_version", "1.4", "'1.4' is not a version of TLS; there are 1.0, 1.1, 1.2, 1.3"),
    ("tls_version", {"min": 1.3, "max": 1.2}, "no version of TLS is at least 1.3 and at most 1.2"),
    ("redirects", -1, "-1 is not a whole number, a range such as 1-3, or {ge: 1}"),
    ("redirects", "3-1", "3-1 is empty; the smaller number comes first"),
    ("redirects", {"max": 1}, "unknown key 'max'; choose from eq, ne, gt, ge, lt, le"),
    ("that", [1], "1 is not an expression; put it in quotes"),
    ("flags", "AB", "unknown flag 'AB'"),
    ("flags", [], "the list is empty"),
    ("flags", {"set": "AD", "not_set": "AD"}, "AD is under set and under not_set"),
    ("flags", {"with": "AD"}, "unknown key 'with'"),
    ("rcode", "NXDOMIAN", "unknown rcode 'NXDOMIAN'; did you mean 'NXDOMAIN'?"),
    ("answer", {"count": "many"}, "'many' is not a whole number"),
]


@pytest.mark.parametrize(("key", "written", "expected"), MISTAKES, ids=_name)
def test_a_mistake_is_named_when_it_is_read(key, written, expected):
    """The error says what is wrong and what would be right."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is the point
        decoded(key, written)
    assert str(caught.value).startswith(expected)


@given(
    st.sampled_from(list(EXPECTATIONS)).filter(lambda key: key != "tls"),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.text("$.ab[0]", max_size=4) | st.sampled_from(KEYS), inner, max_size=3
            )
        ),
        max_leaves=8,
    ),
)
def test_anything_in_yaml_is_a_value_or_a_sentence(key, written):
    """No value below a key of expect makes its parser raise anything but ValueError."""
    with contextlib.suppress(ValueError):
        value = decoded(key, written)
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301  our own


def test_schemas_are_json():
    """The schema for editors is plain JSON."""
    for kind in EXPECTATIONS.values():
        if kind.shape is not bool:
            parsed = get_args(kind.shape)[1]
            assert json.loads(json.dumps(parsed.schema)) == parsed.schema


def test_fingerprints_are_compared_without_their_colons():
    """A fingerprint may be written as openssl prints it, and one match of several suffices."""
    (leaf,) = analysed(http(), {}, tls=tls()).chain
    colons = ":".join(leaf.fingerprint[at : at + 2].upper() for at in range(0, 64, 2))
    assert not message(
        http(), {"certificate": {"fingerprint": ["0" * 64, f"SHA256:{colons}"]}}, tls=tls()
    )
    assert message(http(), {"certificate": {"fingerprint": "0" * 64}}, tls=tls()) == (
        f"certificate fingerprint {leaf.fingerprint} is not {'0' * 64}"
    )


def test_an_expired_certificate_is_called_expired():
    """valid_for says that a date is past, on a connection that was not verified."""
    session = tls(pem("a.example", after=NOW - 2 * DAY), verified=None)
    assert message(http(), {"certificate": {"valid_for": "1d"}}, tls=session) == (
        "certificate expired on 2026-11-20 12:00 UTC, 2.0 days ago"
    )


def test_certificates_of_redirects_must_be_valid_as_long():
    """valid_for applies to each connection whose certificate was verified."""
    ends = pem("a.example", after=NOW + 2 * DAY)
    for verified, broken in ((True, True), (None, False)):
        first = Hop(url="https://a.example/", status=301, tls=tls(ends, verified=verified))
        plain = Hop(url="http://b.example/", status=301)
        answer = http(redirects=(plain, first))
        for valid_for in ("14d", "20%"):
            said = message(answer, {"certificate": {"valid_for": valid_for}}, tls=tls())
            assert (
                said.startswith(
                    "certificate of the redirect from https://a.example/ expires on "
                    "2026-11-24 12:00 UTC, in 2.0 days, less than "
                )
                is broken
            )


def test_rows_stand_in_the_order_of_a_transaction():
    """The table has the order of the list of reasons, which decides what is reported."""
    reasons = list(Reason)
    order = [reasons.index(kind.reason) for kind in EXPECTATIONS.values()]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("answer", "up"),
    [
        (http(status=204), True),
        (http(status=304), False),
        (WebSocketAnswer(status=101, upgraded=True), True),
        (GrpcAnswer(status_code=0, serving_status="UNKNOWN"), False),
        (REPLY, True),
        (EMPTY_REPLY, False),
        (NOWHERE, False),
        (IcmpAnswer(sent=1, received=1), True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_defaults_say_when_a_protocol_is_up(answer, up):
    """The protocol's defaults apply if a site has no expectations."""
    protocol = {"Ht": "http", "We": "ws", "Gr": "grpc", "Dn": "dns", "Ic": "icmp"}
    name = protocol[type(answer).__name__[:2]]
    defaults = tuple(
        (key, kind.defaults[name]) for key, kind in EXPECTATIONS.items() if name in kind.defaults
    )
    job = Job(observation=Observation(time=0, duration=0, answer=answer), expect=defaults)
    assert judge(job).verdict.up is up


def test_the_default_for_records_asks_nothing_of_an_error():
    """Expecting NXDOMAIN suffices: the default does not require records in such a reply."""
    rule = EXPECTATIONS["answer"].defaults["dns"]
    assert rule.of_success
    assert analysed(NOWHERE, {"rcode": "NXDOMAIN"}).verdict.up


@pytest.mark.parametrize(
    ("key", "written", "protocol", "expected"),
    [
        ("status", "2xx", "http", None),
        ("status", "SERVING", "grpc", None),
        ("status", "SERVING", "http", "http checks have no SERVING; write codes such as 2xx"),
        ("status", 200, "grpc", "grpc checks have no HTTP status; there are SERVING, NOT_SERVING"),
        ("latency", {"rtt": "1s"}, "icmp", None),
        ("latency", "1s", "dns", None),
        (
            "latency",
            {"rtt": "1s"},
            "http",
            "http checks have no phase rtt; there are resolve, connect",
        ),
        ("that", "latency < 1", "icmp", None),
        ("that", ["latency < 1", "rcode == 'NOERROR'"], "http", "http checks have no rcode"),
    ],
    ids=_name,
)
def test_what_makes_no_sense_for_a_protocol_is_told(key, written, protocol, expected):
    """A value that a protocol can never meet is refused for it when it is read."""
    kind = EXPECTATIONS[key]
    assert protocol in kind.protocols
    assert kind.check_protocol
    if expected is None:
        kind.check_protocol(decoded(key, written), protocol)
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is the point
        kind.check_protocol(decoded(key, written), protocol)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("key", "written", "reads"),
    [
        ("status", "2xx", False),
        ("body", "x", True),
        ("json", {"$.a": 1}, True),
        ("that", "status == 200", False),
        ("that", ["status == 200", "json.a == 1"], True),
        ("that", "body.size() > 5", True),
    ],
    ids=_name,
)
def test_only_what_looks_at_the_body_needs_it(key, written, reads):
    """A body that is too long fails only checks whose expectations read it."""
    assert EXPECTATIONS[key].needs_body(decoded(key, written)) is reads


def test_every_row_has_a_sentence():
    """The reference and the editor show one sentence per expectation."""
    assert all(kind.doc.endswith(".") for kind in EXPECTATIONS.values())
