"""What is read from answers: values for series, and content that is watched."""

import hashlib
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.jsonpath import parse_path
from monitor.analysis.judge import judge
from monitor.analysis.readings import READINGS, Extraction, Watch
from monitor.model import Content, Extracted, Failure, Job, Reason, Verdict
from tests.analysis.answers import SEEN, decoded, http

DOCUMENT = {
    "depth": 7,
    "ratio": 0.25,
    "big": 2**60,
    "huge": 10**400,
    "on": True,
    "off": False,
    "none": None,
    "list": [1, 2],
    "text": " 12.5 ",
    "word": "full",
    "name": "a\nb\t\x00é",
    "long": "x" * 500,
}
BODY = json.dumps(DOCUMENT).encode()


def extracted(wanted: Extraction, body: bytes = BODY, *headers, secrets=(), **more):
    answer = http(body, *headers)
    job = Job(
        observation=replace(SEEN, answer=answer, **more), extract={"it": wanted}, secrets=secrets
    )
    found = judge(pickle.loads(pickle.dumps(job))).extracted  # noqa: S301  as a worker gets it
    return found[0] if found else None


def at(path: str, **more) -> Extraction:
    return Extraction(json=parse_path(path), **more)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.depth", 7),
        ("$.ratio", 0.25),
        ("$.big", float(2**60)),
        ("$.on", 1),
        ("$.off", 0),
        ("$.text", 12.5),
        ("$.list[1]", 2),
    ],
)
def test_numbers_are_taken_out_of_json(path, value):
    """Numbers and texts that are numbers are read, and true and false as 1 and 0."""
    found = extracted(at(path))
    assert found == Extracted(name="it", value=value)
    assert isinstance(found.value, float)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("$.missing", 'json $.missing: $ has no "missing"'),
        ("$.word", '"full" is not a number'),
        ("$.none", "null is of type null, not number"),
        ("$.list", "[1, 2] is of type array, not number"),
        ("$.huge", "is too large a number"),
    ],
)
def test_what_is_no_number_is_absent(path, why):
    """The value is None with the reason, never 0."""
    found = extracted(at(path))
    assert found.value is None
    assert found.why.endswith(why)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("-.5", -0.5),
        ("+7.", 7),
        ("0x10", None),
        ("1_000", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("٣", None),
        ("", None),
    ],
)
def test_only_plain_numbers_are_numbers(text, value):
    """Other forms that Python reads as numbers are refused, since people do not mean them."""
    assert extracted(Extraction(header="x"), b"", ("X", text)).value == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.word", "full"),
        ("$.depth", "7"),
        ("$.on", "true"),
        (
            "$.name",
            "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}é",
        ),
        ("$.long", "x" * 128),
        ("$.none", None),
    ],
)
def test_labels_are_short_texts(path, value):
    """A label has at most 128 characters, all of them printable."""
    assert extracted(at(path, label=True)).value == value


def test_a_pattern_takes_its_group():
    """It searches the body or the named header, and a header's name ignores case."""
    wanted = Extraction(matches=r"v(\d+\.\d+)")
    assert extracted(wanted, b"server v1.25 here").value == 1.25
    assert extracted(replace(wanted, header="server"), b"v2.0", ("SERVER", "x v1.5")).value == 1.5
    assert extracted(wanted, b"none").why == r'body "none" does not match "v(\\d+\\.\\d+)"'
    assert extracted(replace(wanted, header="server"), b"").why == "header server is not there"
    optional = Extraction(matches=r"v(\d)?")
    assert extracted(optional, b"v").value is None


def test_no_value_shows_a_secret():
    """A secret in a label is masked before the label is cut; a number that is one is refused."""
    secret = "hunter22"
    body = json.dumps({"a": "x" * 124 + secret, "b": 12345678}).encode()
    assert "hunt" not in extracted(at("$.a", label=True), body, secrets=(secret,)).value
    assert extracted(at("$.b"), body, secrets=("12345678",)).why == "what was found holds a secret"
    assert "hunt" not in extracted(at("$.a"), body, secrets=(secret,)).why


def test_values_are_taken_whatever_the_verdict():
    """They come from every complete answer, and from no incomplete one."""
    job = Job(
        observation=replace(SEEN, answer=http(BODY, status=503)),
        expect=(("status", decoded("status", "2xx")),),
        extract={"depth": at("$.depth")},
    )
    assert judge(job).extracted == (Extracted(name="depth", value=7.0),)
    failure = Failure(Reason.BODY_TOO_LARGE, "too much")
    assert extracted(at("$.depth"), failure=failure) is None


def test_a_bug_costs_one_value(caplog):
    """It is logged and reported, and the verdict and the other values stay."""

    class Trap:
        def find(self, document):
            raise ZeroDivisionError(document)

    trap: Any = Trap()
    wanted = {"a": Extraction(json=trap), "depth": at("$.depth")}
    watch = Watch(content="sha256", json=trap)
    analysis = judge(Job(observation=replace(SEEN, answer=http(BODY)), extract=wanted, watch=watch))
    assert [one.value for one in analysis.extracted] == [None, 7.0]
    assert analysis.extracted[0].why == "cannot be read: ZeroDivisionError"
    assert analysis.content
    assert analysis.content.why == "content cannot be read: ZeroDivisionError"
    assert analysis.verdict.up
    assert "extraction_bug" in caplog.text


@given(st.binary() | st.text().map(str.encode), st.text(max_size=20))
def test_no_answer_makes_reading_raise(body, header):
    """Each extraction gives a value or a reason, and the watch a hash or a reason."""
    wanted = {
        "json": at("$.a[0]"),
        "text": Extraction(matches="(.*)", label=True),
        "number": Extraction(matches=r"(\S+)"),
        "header": Extraction(header="x", label=True),
    }
    for watch in (
        Watch(content="sha256"),
        Watch(content="sha256", css="p, a > b"),
        Watch(content="sha256", json=parse_path("$.a")),
    ):
        answer = http(body, ("X", header), ("Content-Type", header))
        analysis = judge(Job(observation=replace(SEEN, answer=answer), extract=wanted, watch=watch))
        for one in analysis.extracted:
            assert (one.value is None) == bool(one.why)
            if isinstance(one.value, str):
                assert one.value.isprintable()
                assert len(one.value) <= 128
        assert analysis.content
        assert (analysis.content.sha256 is None) == bool(analysis.content.why)


# ---------------------------------------------------------------- content


def watched(watch: Watch, body: bytes, reference: str | None = None, **more):
    answer = http(body, ("Content-Type", "text/html"), **more)
    return judge(
        Job(
            observation=replace(SEEN, answer=answer),
            expect=(("status", decoded("status", "2xx")),),
            watch=watch,
            reference=reference,
        )
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("watch", "body", "hashed"),
    [
        (Watch(content="sha256"), "<p>x</p>\n", "<p>x</p>\n"),
        (Watch(content="sha256", css="#price"), "<p>x<b id=price> 1 <i>€</i></b>", "1 €"),
        (Watch(content="sha256", css="li"), "<li>a<li>b", "a\nb"),
        (
            Watch(content="sha256", json=parse_path("$.a")),
            '{"a": {"c": 1, "b": 2}}',
            '{"b":2,"c":1}',
        ),
    ],
    ids=["body", "element", "elements", "json"],
)
def test_what_is_watched_is_hashed(watch, body, hashed):
    """The hash is of the decoded body, the selected texts, or a JSON value in any spelling."""
    assert watched(watch, body.encode()).content == Content(sha256=sha256(hashed))


@pytest.mark.parametrize(
    ("watch", "why"),
    [
        (Watch(content="sha256", css="#price", fail=True), 'no element matches "#price"'),
        (Watch(content="sha256", json=parse_path("$.a"), fail=True), "body is not JSON"),
    ],
    ids=["element", "json"],
)
def test_content_that_is_not_there_is_missing(watch, why):
    """It is reported, and the check fails only if the watch has fail set."""
    failing = watched(watch, b"<p>x")
    assert failing.content.why.startswith(why)
    assert failing.verdict.reason is Reason.BODY
    assert failing.verdict.message.startswith(f"the content to watch is missing: {why}")
    assert watched(replace(watch, fail=False), b"<p>x").verdict.up


def test_a_watch_fails_when_it_is_told_to():
    """With fail, a changed hash turns the check down, and the message names both hashes."""
    old, new = sha256("old"), sha256("new")
    quiet, strict = Watch(content="sha256"), Watch(content="sha256", fail=True)
    assert watched(strict, b"new").verdict.up
    assert watched(strict, b"new", new).verdict.up
    assert watched(quiet, b"new", old).verdict.up
    changed = watched(strict, b"new", old)
    assert changed.verdict == Verdict(
        up=False,
        reason=Reason.BODY,
        message=f"content changed from {old[:12]} to {new[:12]} (SHA-256)",
    )
    assert (changed.broken, changed.content) == (("watch",), Content(sha256=new))


def test_an_outage_is_no_change_of_content():
    """The content of an answer that is not as expected is not compared."""
    analysis = watched(Watch(content="sha256", fail=True), b"sorry", sha256("old"), status=503)
    assert (analysis.verdict.reason, analysis.content) == (Reason.STATUS, None)


@pytest.mark.parametrize("key", READINGS)
def test_only_what_reads_the_body_needs_it(key):
    """A value from a header does not need the body."""
    kind = READINGS[key]
    if key == "extract":
        assert not kind.needs_body({"a": Extraction(header="x")})
        assert kind.needs_body({"a": Extraction(header="x"), "b": at("$.b")})
    else:
        assert kind.needs_body(Watch(content="sha256"))
