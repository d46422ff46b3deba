"""The verdict: what decides it, what is reported beside it, and that judging never raises."""

import json
import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.judge import judge, judge_at_once, judge_batch
from monitor.model import (
    UP,
    Analysis,
    DnsAnswer,
    Failure,
    GrpcAnswer,
    Hop,
    HttpAnswer,
    IcmpAnswer,
    Job,
    Reason,
    TcpAnswer,
    TlsSession,
    Verdict,
    WebSocketAnswer,
)
from monitor.secrecy import every_form
from tests.analysis.answers import (
    DAY,
    NOW,
    SEEN,
    SHOP,
    URL,
    analysed,
    asked,
    decoded,
    http,
    pem,
    tls,
)


def test_an_answer_that_is_as_expected_is_up():
    """The verdict has neither reason nor message."""
    assert analysed(http(b"ok"), {"status": 200, "body": "ok"}).verdict == UP
    assert analysed(None, {}).verdict == UP


def test_a_batch_holds_what_is_as_expected_once():
    """Answers with nothing to report share one analysis; any other answer has its own."""
    failed = replace(SEEN, failure=Failure(Reason.PROTOCOL_ERROR, "no HTTP"))
    first, second, other = judge_batch(
        tuple(Job(observation=seen) for seen in (SEEN, SEEN, failed))
    )
    assert first is second
    assert other is not first


_PLAIN = http(b"ok")


@pytest.mark.parametrize(
    ("answer", "expect", "more", "at_once"),
    [
        pytest.param(_PLAIN, {"status": "2xx"}, {}, True, id="status"),
        pytest.param(_PLAIN, {"status": 200, "latency": "1s"}, {}, True, id="latency"),
        pytest.param(_PLAIN, {"http_version": "1.1", "redirects": 0}, {}, True, id="version"),
        pytest.param(TcpAnswer(), {}, {}, True, id="nothing expected"),
        pytest.param(_PLAIN, {"status": 404}, {}, False, id="broken"),
        pytest.param(_PLAIN, {"latency": "400ms"}, {}, False, id="too slow"),
        pytest.param(TcpAnswer(), {"status": 200}, {}, False, id="nothing to compare"),
        pytest.param(_PLAIN, {"body": "ok"}, {}, False, id="searched"),
        pytest.param(_PLAIN, {"status": 200}, {"tls": tls()}, False, id="certificates"),
        pytest.param(
            http(redirects=(Hop(url="https://a", status=301, tls=tls()),)),
            {"status": 200},
            {},
            False,
            id="certificates of a redirect",
        ),
        pytest.param(
            _PLAIN, {}, {"failure": Failure(Reason.BODY_TOO_LARGE, "long")}, False, id="failure"
        ),
    ],
)
def test_only_answers_as_expected_are_judged_without_a_worker(answer, expect, more, at_once):
    """If nothing is decoded or searched, the verdict needs no worker and equals the worker's."""
    job = asked(answer, expect, **more)
    assert judge_at_once(job, None) == (judge(job) if at_once else None)


def test_known_certificates_need_no_worker():
    """The verdict includes what a worker found in them; a bad answer still goes to a worker."""
    job = asked(_PLAIN, {"status": 200}, tls=tls())
    found = judge(job)
    assert found.chain
    assert judge_at_once(job, found) is found
    assert judge_at_once(asked(_PLAIN, {"status": 404}, tls=tls()), found) is None
    assert judge_at_once(asked(_PLAIN, {"status": 200}), found) == Analysis(verdict=UP)


@pytest.mark.parametrize(
    ("expect", "at_once"),
    [
        ({"certificate": {"valid_for": "1h", "names": ["shop.example.com"]}}, True),
        ({"certificate": {"valid_for": "33%"}, "tls": True, "tls_version": "1.3"}, True),
        ({"certificate": {"valid_for": "9000d"}}, False),
        ({"certificate": {"issuer": "."}}, False),
        ({"tls_version": "1.2"}, False),
    ],
    ids=["days and names", "share and version", "ends too soon", "pattern", "version"],
)
def test_expectations_about_known_certificates_are_compared_at_once(expect, at_once):
    """Patterns and failures go to a worker; the verdict is the same either way."""
    job = asked(_PLAIN, expect, tls=tls(version="TLS 1.3"))
    found = judge(asked(_PLAIN, {}, tls=tls()))
    assert judge_at_once(job, found) == (judge(job) if at_once else None)


def test_what_is_read_or_watched_is_left_to_a_worker():
    """An answer that is extracted from or watched is decoded each time."""
    job = asked(_PLAIN, {"status": 200})
    assert judge_at_once(job, None) is not None
    assert judge_at_once(replace(job, extract=()), None) is None
    assert judge_at_once(replace(job, watch=object()), None) is None


def test_the_first_in_the_order_of_the_transaction_decides():
    """The verdict names one reason, and other broken expectations are listed beside it."""
    analysis = analysed(http(b"x", status=500), {"body": "ok", "latency": "1s", "status": 200})
    assert analysis.verdict == Verdict(
        up=False, reason=Reason.STATUS, message="status 500 is not 200"
    )
    assert analysis.broken == ("status", "body")


def test_a_failure_decides_before_any_expectation():
    """Without a complete answer no expectation is checked."""
    failure = Failure(Reason.READ_TIMEOUT, "no answer within 5s")
    analysis = analysed(http(status=500), {"status": 200}, failure=failure)
    assert analysis.verdict == Verdict.down(failure)
    assert analysis.broken == ()


def test_certificates_are_decoded_whatever_the_verdict():
    """The expiry of a rejected certificate and of each redirecting host's is known."""
    hop = pem("hop.example")
    answer = http(
        redirects=(Hop(url="https://a", status=301, tls=tls(hop)), Hop(url="http://b", status=301))
    )
    for failure in (None, Failure(Reason.TLS_EXPIRED, "certificate has expired")):
        analysis = analysed(answer, {}, tls=tls(SHOP, verified=False), failure=failure)
        assert [one.names for one in analysis.chain] == [("*.example.com", "example.com")]
        assert [[one.names for one in chain] for chain in analysis.hop_chains] == [
            [("hop.example",)],
            [],
        ]


@pytest.mark.parametrize(
    ("answer", "server_name", "host"),
    [
        (None, None, "shop.example.org"),
        (http(url="https://elsewhere.example/x"), None, "elsewhere.example"),
        (None, "inner.example", "inner.example"),
    ],
    ids=["the site's", "the last redirect's", "the one that was asked for"],
)
def test_a_wrong_host_is_told_with_both_names(answer, server_name, host):
    """The message names the hosts of the certificate and the host that was asked."""
    analysis = analysed(
        answer,
        {},
        tls=replace(tls(pem("*.example.com"), verified=False), server_name=server_name),
        failure=Failure(Reason.TLS_WRONG_HOST, "no alternative certificate subject name matches"),
    )
    assert analysis.verdict == Verdict(
        up=False,
        reason=Reason.TLS_WRONG_HOST,
        message=f"certificate for *.example.com does not cover {host}",
    )


def test_an_expired_certificate_is_told_with_its_date():
    """The date in the certificate replaces the probe's message."""
    analysis = analysed(
        None,
        {},
        tls=tls(pem("a.example", after=NOW - DAY), verified=False),
        failure=Failure(Reason.TLS_EXPIRED, "certificate has expired"),
    )
    assert analysis.verdict.message == (
        "certificate for a.example expired on 2026-11-21 12:00 UTC, 1.0 days ago"
    )


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), RecursionError(), MemoryError(), BaseException("a panic")]
)
def test_a_bug_breaks_one_expectation_only(error, caplog):
    """An exception fails only its expectation and is logged; the rest of the batch is judged."""

    class Trap:
        def __ge__(self, other):
            raise error

    trap: Any = Trap()
    broken = Job(
        observation=replace(SEEN, answer=http(status=trap)),
        expect=(("status", decoded("status", 200)),),
        site="shop",
    )
    with caplog.at_level(logging.ERROR):
        first, second = judge_batch((broken, Job(observation=SEEN)))
    assert first.verdict.reason is Reason.STATUS
    assert first.verdict.message.startswith(f"status cannot be judged: {type(error).__name__}")
    assert first.broken == ("status",)
    assert second.verdict == UP
    (record,) = caplog.records
    assert record.getMessage() == "expectation_bug"
    assert record.fields == {"site": "shop", "expectation": "status"}


SECRET = 'p"ssw\\rd-é'


@pytest.mark.parametrize(
    ("key", "written", "answer", "sentence"),
    [
        (
            "header",
            {"x-token": {"not_contains": SECRET}},
            http(b"", ("X-Token", f"a{SECRET}")),
            'header x-token "a<secret>" contains "<secret>"',
        ),
        (
            "body",
            {"contains": "ok"},
            http(b"z" * 95 + SECRET.encode()),
            f'body "{"z" * 95}<secr…" does not contain "ok"',
        ),
        (
            "json",
            {"$": {"type": "array"}},
            http(json.dumps({"a": SECRET}).encode()),
            'json $ {"a": "<secret>"} is of type object, not array',
        ),
        (
            "body",
            {"contains": "ok"},
            http(json.dumps({"a": SECRET}).encode()),
            r'body "{\"a\": \"<secret>\"}" does not contain "ok"',
        ),
        (
            "that",
            f"json.a != r'{SECRET}'",
            http(json.dumps({"a": SECRET}).encode()),
            "expression json.a != r'<secret>' is false (json.a is \"<secret>\")",
        ),
    ],
    ids=["header", "cut", "value", "JSON text", "expression"],
)
def test_no_message_quotes_a_secret(key, written, answer, sentence):
    """Secrets are masked before values are cut or escaped, in answers and expectations."""
    job = Job(
        observation=replace(SEEN, answer=answer),
        expect=((key, decoded(key, written)),),
        secrets=every_form(("p", SECRET)),
    )
    assert judge(job).verdict.message == sentence


def test_a_message_is_one_printable_line():
    """Control characters and line ends of a peer are escaped, and the message is shortened."""
    failure = Failure(Reason.PROTOCOL_ERROR, "no status line: \x1b[31m\r\n" + "x" * 5000)
    message = analysed(None, {}, failure=failure).verdict.message
    assert message.startswith(r"no status line: \x1b[31m\r\nxxx")
    assert message.isprintable()
    assert len(message) < 1100


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b", "(.*)*x", "(a?){50}a{50}b"])
@pytest.mark.parametrize("key", ["body", "that"])
def test_patterns_take_linear_time(key, pattern):
    """Ten times the text takes about ten times as long; backtracking would never end."""
    written = {"body": {"not_matches": pattern}, "that": f'!body.matches("{pattern}")'}
    took = []
    for size in (20_000, 200_000):
        observation = replace(SEEN, answer=http(b"a" * size + b"!"))
        job = Job(observation=observation, expect=((key, decoded(key, written[key])),))
        judge(job)
        started = time.thread_time()
        assert judge(job).verdict == UP
        took.append(time.thread_time() - started)
    assert took[1] < 100 * took[0] + 1


def test_a_worker_loads_nothing_of_the_network(in_new_process):
    """The judge loads no network library, and heavy libraries only when it needs them."""
    loaded = in_new_process("import monitor.analysis.judge")
    assert "monitor" in loaded
    network = {"requests", "pycurl", "dns", "icmplib", "starlette", "uvicorn", "grpc"}
    others = {"prometheus_client", "pydantic", "yaml", "watchfiles", "click", "rich", "jinja2"}
    late = {"cryptography", "cel", "typer"}
    assert loaded.isdisjoint(network | others | late)


# ---------------------------------------------------------------- any input

texts = st.text(max_size=20) | st.sampled_from(["é\ud800", "a" * 300, "\x00", "1.1", "TLS 1.3"])
headers = st.lists(
    st.tuples(st.sampled_from(["Content-Type", "content-type", "Server", "X"]), texts)
    | st.just(("Content-Type", "text/html; charset=gb18030")),
    max_size=4,
).map(tuple)
bodies = (
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[" * 10_000,
            b"[" * 450 + b"]" * 450,
            b'{"a": "\\ud800"}',
            b'{"a": 1e999, "b": [NaN]}',
            b'{"a": 1e999}',
            b'{"a": ' + b"9" * 4000 + b"}",
            b'{"a": {"b": [0, {"c": null}]}}',
            b"\xff\xfe\x00\xd8",
            b"<meta charset=" * 90,
        ]
    )
    | st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5).map(
        lambda value: (
            str({"a": value}).replace("'", '"').replace("None", "null").encode(errors="replace")
        )
    )
)
chains = st.lists(
    st.sampled_from([SHOP, pem(), "", "junk", "-----BEGIN CERTIFICATE-----", "\ud800"]), max_size=3
).map(tuple)
sessions = st.none() | st.builds(
    TlsSession, version=st.none() | texts, chain=chains, verified=st.none() | st.booleans()
)
answers = st.none() | st.one_of(
    st.builds(
        HttpAnswer,
        status=st.integers(),
        version=texts,
        headers=headers,
        body=bodies,
        truncated=st.booleans(),
        url=texts | st.sampled_from(["https://[", "https://a.example:x/"]),
        redirects=st.lists(
            st.builds(Hop, url=texts, status=st.integers(), tls=sessions), max_size=2
        ).map(tuple),
    ),
    st.builds(TcpAnswer, received=bodies),
    st.builds(
        DnsAnswer, rcode=texts, answer=st.lists(texts, max_size=3).map(tuple), serial=st.none()
    ),
    st.builds(
        IcmpAnswer,
        sent=st.integers(0, 3),
        received=st.integers(0, 3),
        round_trips=st.lists(st.floats(), max_size=2).map(tuple),
    ),
    st.builds(WebSocketAnswer, status=st.integers(), upgraded=st.booleans(), headers=headers),
    st.builds(GrpcAnswer, status_code=st.integers(), serving_status=st.none() | texts),
)
WRITTEN: dict[str, list[object]] = {
    "status": ["2xx", [200, "300-399"], "SERVING"],
    "header": [
        {"content-type": "json"},
        {"x": {"not_matches": "a+", "contains": "b"}, "server": {"absent": True}},
    ],
    "body": ["ok", {"not_contains": ["a", "\x00"], "not_matches": "(a+)+$"}],
    "json": [
        {"$.a": 1},
        {"$.a": {"gt": 5}, "$": {"length": {"ge": 1}}},
        {"$.a.b[0]": {"matches": "x", "contains": "y"}},
        {"$.a": {"not": 1}["not"], "$.b": {"exists": False}},
        {"$.a": {"matches": "."}},
        {"$.a": {"contains": ["x"], "type": ["array", "string"]}},
    ],
    "latency": ["1s", {"connect": "1s", "rtt": "1s"}],
    "certificate": [{"valid_for": "1d", "issuer": "x", "names": ["a.example", "é.example"]}],
    "http_version": [["1.1", 2]],
    "tls": [True, False],
    "tls_version": ["1.3", {"min": 1.2}],
    "redirects": [0, {"ge": 1}],
    "that": [
        "status == 200",
        ["json.a == 1", "json.a.b[0].c > 2"],
        'headers["x"].matches("a") && body.size() > 5',
        "certificate.days_left > 1 && certificate.names.exists(n, n == 'x')",
        "loss + rtt < latency",
        "json.a.all(x, x.b > 1) || json.exists(x, x == 'a')",
        "answers[0] == rcode + ip + url + tls_version + http_version",
        "json.a",
        "string(json.a).matches(string(json.a))",
        "json == json && body + body == body",
    ],
    "rcode": ["NOERROR"],
    "flags": ["AD", {"set": ["RA"], "not_set": "TC"}],
    "answer": ["A", {"count": 1, "not_matches": "x"}],
    "authority": [{"count": {"ge": 1}}],
    "additional": ["SOA"],
}
expectations = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(written) for key, written in WRITTEN.items()}
)
failures = st.none() | st.none() | st.builds(Failure, st.sampled_from(list(Reason)), texts)


@settings(max_examples=400, deadline=None)
@given(answers, sessions, expectations, failures, st.lists(texts, max_size=2).map(tuple))
def test_nothing_makes_judging_raise(answer, session, expect, failure, secrets):
    """Any answer and any expectation give one verdict, with a known reason if it is down."""
    job = Job(
        observation=replace(SEEN, answer=answer, tls=session, failure=failure),
        expect=tuple((key, decoded(key, expect[key])) for key in EXPECTATIONS if key in expect),
        url=URL,
        secrets=secrets,
    )
    analysis = judge(job)
    verdict = analysis.verdict
    assert verdict.up is (verdict.reason is None) is not bool(failure or analysis.broken)
    assert verdict.up or verdict.reason in set(Reason)
    assert set(analysis.broken) <= set(expect)
    assert verdict.message.isprintable()
    assert "cannot be judged" not in verdict.message
