"""The webhook receiver, over real sockets: what it sends, and how it treats each answer."""

import hashlib
import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.messages.receivers import build_senders
from monitor.notify import ReceiverOptions, WebhookOptions
from monitor.outbound import Credentials, OutgoingRequest, Reply, TlsOptions
from tests.fakes import FakeClock
from tests.messages.conftest import BEGAN, alert, message, sender
from tests.probes.servers import answer, drip, read_request, repeat, reset, stay_silent
from tests.waiting import free_port

GUIDE = Path(__file__).parents[2] / "docs/guides/receivers.md"
SECRET = "a-signing-key-of-the-tests"


def webhook(url: str, secret: str | None = None, **values) -> ReceiverOptions:
    return ReceiverOptions(name="oncall", webhook=WebhookOptions(url=url, secret=secret), **values)


def parts(request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return the request line, the headers by lower-case name, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in pairs}, body


def test_the_body_is_alertmanagers_version_4(serve):
    """Each key of Alertmanager's message is there, with common labels and cut alerts counted."""
    server = serve(answer())
    sent = message(alert(), alert("blog", ended=BEGAN + 90), omitted=3)
    outcome = sender(webhook(server.url("/hook"))).send(sent, 5)
    first, headers, body = parts(server.requests[0])
    assert outcome.delivered
    assert first == "POST /hook HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == sent.key
    got = json.loads(body)
    shop, blog = got.pop("alerts")
    assert got == {
        "version": "4",
        "groupKey": '{}:{group="storefront"}',
        "truncatedAlerts": 3,
        "status": "firing",
        "receiver": "oncall",
        "groupLabels": {"group": "storefront"},
        "commonLabels": {
            "alertname": "SiteDown",
            "severity": "critical",
            "group": "storefront",
        },
        "commonAnnotations": {"description": "status 503 is not in 2xx"},
        "externalURL": "",
    }
    assert (shop["status"], shop["startsAt"], shop["endsAt"]) == (
        "firing",
        "2026-09-21T14:13:20.000Z",
        "0001-01-01T00:00:00Z",
    )
    assert (blog["status"], blog["endsAt"]) == ("resolved", "2026-09-21T14:14:50.000Z")
    assert blog["labels"]["site"] == "blog"


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (SECRET, SECRET.encode()),
        ("whsec_" + b64encode(b"\0\1" * 16).decode(), b"\0\1" * 16),
    ],
)
def test_the_signature_covers_key_time_and_body(serve, secret, key):
    """Its HMAC-SHA256 is over id, timestamp and body, as Standard Webhooks defines it."""
    server = serve(answer())
    assert sender(webhook(server.url(), secret)).send(message(), 5).delivered
    _, headers, body = parts(server.requests[0])
    version, _, given = headers["webhook-signature"].partition(",")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert version == "v1"
    assert b64decode(given) == hmac.digest(key, signed, hashlib.sha256)
    assert headers["webhook-id"] == headers["idempotency-key"]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_the_guides_example_verifies_a_message(serve):
    """Its code accepts what the monitor sends, and no other body, key or time."""
    (code,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  what a reader copies
    is_genuine = names["is_genuine"]
    server = serve(answer())
    sender(webhook(server.url(), SECRET)).send(message(), 5)
    _, headers, body = parts(server.requests[0])
    headers = {name.title(): value for name, value in headers.items()}
    assert is_genuine(SECRET, headers, body)
    assert not is_genuine(SECRET, headers, body + b" ")
    assert not is_genuine("another-signing-key", headers, body)
    later = str(int(headers["Webhook-Timestamp"]) + 1)
    assert not is_genuine(SECRET, {**headers, "Webhook-Timestamp": later}, body)


def test_the_guides_message_is_what_is_sent(serve):
    """The whole body in the guide equals the body of a message about one outage."""
    (shown,) = re.findall(
        r'^```json title="message.json"\n(.*?)^```', GUIDE.read_text(), re.DOTALL | re.MULTILINE
    )
    server = serve(answer())
    assert sender(webhook(server.url())).send(message(alert()), 5).delivered
    _, _, body = parts(server.requests[0])
    assert json.loads(body) == json.loads(shown)


def test_an_unsigned_message_says_nothing_of_signatures(serve):
    """Without a secret no header looks like a signature."""
    server = serve(answer())
    sender(webhook(server.url())).send(message(), 5)
    assert not [name for name in parts(server.requests[0])[1] if name.startswith("webhook-")]


ANSWERS = [
    ("200 OK", [], True, False, None),
    ("204 No Content", [], True, False, None),
    ("202 Accepted", [("Retry-After", "5")], True, False, None),
    ("400 Bad Request", [], False, True, None),
    ("413 Content Too Large", [], False, True, None),
    ("422 Unprocessable Content", [], False, True, None),
    ("410 Gone", [], False, True, None),
    ("401 Unauthorized", [], False, False, None),
    ("403 Forbidden", [], False, False, None),
    ("404 Not Found", [], False, False, None),
    ("408 Request Timeout", [], False, False, None),
    ("429 Too Many Requests", [("Retry-After", "17")], False, False, 17.0),
    ("429 Too Many Requests", [("Retry-After", "999999999999")], False, False, 3600.0),
    ("429 Too Many Requests", [("Retry-After", "-3")], False, False, None),
    ("429 Too Many Requests", [("Retry-After", "soon")], False, False, None),
    ("500 Internal Server Error", [], False, False, None),
    ("503 Service Unavailable", [("Retry-After", "0")], False, False, 0.0),
    ("503 Service Unavailable", [], False, False, None),
]


@pytest.mark.parametrize(("status", "headers", "delivered", "lasting", "after"), ANSWERS)
def test_what_each_status_means(serve, status, headers, delivered, lasting, after):
    """2xx is delivery; only a fault of the message itself is final; Retry-After is respected."""
    server = serve(answer(b"", status, headers))
    outcome = sender(webhook(server.url())).send(message(), 5)
    assert (outcome.delivered, outcome.lasting) == (delivered, lasting)
    assert outcome.retry_after == (None if delivered else after)
    assert status.split()[0] in outcome.detail


@pytest.mark.parametrize(("ahead", "expected"), [(120, 120.0), (-120, 0.0), (10**6, 3600.0)])
def test_retry_after_may_be_a_date(serve, ahead, expected):
    """A date counts as the time until then, at least 0 and at most one hour."""
    clock = FakeClock(monotonic=time.monotonic())
    date = formatdate(clock.time() + ahead, usegmt=True)
    server = serve(answer(b"", "503 Service Unavailable", [("Retry-After", date)]))
    outcome = sender(webhook(server.url()), clock).send(message(), 30)
    assert outcome.retry_after == expected


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_no_delivery_and_is_not_followed(serve, status):
    """Its target gets neither message, nor login, nor signature."""
    other = serve(answer())
    server = serve(answer(b"", status, [("Location", other.url())]))
    options = webhook(server.url(), SECRET, bearer_token="a-long-token")
    outcome = sender(options).send(message(), 5)
    assert not outcome.delivered
    assert "redirect" in outcome.detail
    assert other.requests == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([read_request, stay_silent], "no answer"),
        ([read_request, drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", every=0.02)], "within"),
        ([stay_silent], "no answer"),
        ([read_request], "closed the connection"),
        ([read_request, b"HTTP/1.1 200 "], "closed the connection"),
        ([read_request, reset], "reset"),
        ([read_request, b"SSH-2.0-OpenSSH_9\r\n\r\n"], ""),
    ],
    ids=["hangs", "drips", "reads nothing", "closes", "closes early", "resets", "is no web server"],
)
def test_without_an_answer_there_is_no_delivery(serve, script, words):
    """A server that hangs, drips or breaks off ends at the timeout and is tried again."""
    server = serve(script)
    began = time.monotonic()
    outcome = sender(webhook(server.url())).send(message(), 0.5)
    assert not outcome.delivered
    assert not outcome.lasting
    assert words in outcome.detail
    assert time.monotonic() - began < 20


def test_nobody_listens():
    """A refused connection is reported with its address and tried again."""
    outcome = sender(webhook(f"http://127.0.0.1:{free_port()}/")).send(message(), 5)
    assert (outcome.delivered, outcome.lasting) == (False, False)
    assert "refused" in outcome.detail


@pytest.mark.parametrize(
    "rest",
    [
        [b"Content-Length: 100\r\n\r\nabc"],
        [b"\r\n", repeat(b"x" * 65536)],
        [b"Transfer-Encoding: chunked\r\n\r\n", drip(b"1\r\nx\r\n", every=0.02)],
    ],
    ids=["cut off", "endless", "dripping"],
)
def test_the_head_of_an_answer_decides(serve, rest):
    """A receiver that says 200 has the message, however its body ends; at most 64 KiB are read."""
    server = serve([read_request, b"HTTP/1.1 200 OK\r\n", *rest])
    assert sender(webhook(server.url())).send(message(), 1).delivered


def test_a_receiver_is_reached_as_a_site_is(serve, authority):
    """Its options give it headers, login, authorities and an HTTP proxy."""
    server = serve(answer(), tls=authority.context("localhost"))
    refusing = webhook(server.url(host="localhost"))
    assert "certificate" in sender(refusing).send(message(), 5).detail
    options = webhook(
        server.url("/a", host="localhost"),
        headers={"X-Team": "web"},
        basic_auth=Credentials(username="ops", password="pässword"),
        tls=TlsOptions(ca_file=authority.file),
    )
    assert sender(options).send(message(), 5).delivered
    headers = parts(server.requests[0])[1]
    assert headers["x-team"] == "web"
    assert b64decode(headers["authorization"].split()[1]).decode() == "ops:pässword"
    proxy = serve(answer())
    through = webhook("http://receiver.test/x", proxy=proxy.url()[:-1])
    assert sender(through).send(message(), 5).delivered
    assert parts(proxy.requests[0])[0] == "POST http://receiver.test/x HTTP/1.1"


def test_no_secret_shows_even_if_the_receiver_repeats_it(serve):
    """Path, query, signing key and logins are masked where an error quotes the receiver."""
    login = b64encode(b"ops:a-long-password").decode()
    leaked = f"bad path /services/T0001234X/tok%2Fen-9876?key=qwertz&x {SECRET} Basic {login}"
    server = serve(answer(leaked.encode(), "403 Forbidden"))
    options = webhook(
        server.url("/services/T0001234X/tok%2Fen-9876?key=qwertz"),
        SECRET,
        basic_auth=Credentials(username="ops", password="a-long-password"),
    )
    detail = sender(options).send(message(), 5).detail
    assert detail.startswith(f"127.0.0.1:{server.port} answered with status 403: bad path")
    for secret in ("T0001234X", "en-9876", "qwertz", SECRET, login, "a-long-password"):
        assert secret not in detail


@pytest.mark.parametrize(
    ("path", "secrets"),
    [
        ("/a1b2", ["a1b2"]),
        ("/bot123456:AAF-x_y/sendMessage", ["AAF-x_y", "bot123456", "bot123456:AAF-x_y"]),
        ("/in;key=s3cr/x?v=1&t0ken", ["s3cr", "t0ken"]),
        ("/x?to=ab%2Bcd+ef%3A9876", ["ab+cd ef:9876", "ab%2Bcd", "9876"]),
    ],
)
def test_each_part_of_a_webhook_s_url_is_a_secret_from_four_characters_on(serve, path, secrets):
    """It is masked in whatever form the receiver repeats it; the rest of the text is unchanged."""
    server = serve(answer(f"no way: {', '.join(secrets)}; ok is false".encode(), "404 Not Found"))
    detail = sender(webhook(server.url(path))).send(message(), 5).detail
    assert detail.startswith(f"127.0.0.1:{server.port} answered with status 404: no way: <secret>")
    assert detail.endswith("; ok is false")
    for secret in secrets:
        assert secret not in detail


def test_a_machine_without_descriptors_tries_again():
    """A lack on this machine is not an answer of the receiver, so the message waits."""

    def call(_call: OutgoingRequest, _deadline: Deadline) -> Reply:
        raise ProbeError("the monitor has too many open files")

    (receiver,) = build_senders(webhook("http://127.0.0.1/"), call, FakeClock()).values()
    outcome = receiver.send(message(), 5)
    assert (outcome.delivered, outcome.lasting) == (False, False)
    assert outcome.detail == "the monitor has too many open files"
