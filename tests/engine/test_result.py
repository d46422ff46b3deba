"""What a finished check keeps: evidence for every protocol, bounded and without secrets."""

from dataclasses import replace

import pytest

from monitor.analysis.body import as_text
from monitor.engine.result import judged
from monitor.model import (
    UP,
    Analysis,
    Certificate,
    DnsAnswer,
    Failure,
    Hop,
    HttpAnswer,
    Observation,
    Reason,
    TcpAnswer,
    TlsSession,
    Verdict,
    WebSocketAnswer,
)
from monitor.report import result_json
from tests.builders import site

DOWN = Verdict(up=False, reason=Reason.BODY, message="why")
LEAF = Certificate(
    subject="CN=a.example",
    issuer="CN=R11",
    names=("a.example",),
    serial="01",
    not_before=0.0,
    not_after=1.0,
    fingerprint="ab" * 32,
)


def kept(answer, *, secrets=(), seen_secrets=(), verdict=DOWN, chain=(), hop_chains=(), **seen):
    observation = Observation(time=1.0, duration=0.1, answer=answer, secrets=seen_secrets, **seen)
    analysis = Analysis(verdict=verdict, chain=chain, hop_chains=hop_chains)
    return judged(site(secrets=secrets), observation, analysis, as_text)


def http(body=b"", headers=(), **more):
    return HttpAnswer(status=500, version="1.1", body=body, headers=headers, **more)


def size(thing) -> int:
    """Return roughly how many characters a record holds."""
    return len(repr(thing))


@pytest.mark.parametrize(
    ("answer", "excerpt"),
    [
        (http(b"sorry"), "sorry"),
        (
            http("schön".encode("latin-1"), (("Content-Type", "text/html; charset=latin1"),)),
            "schön",
        ),
        (http("\ufeffé".encode("utf-16-le")), "é"),
        (http(b"\xff"), "\N{REPLACEMENT CHARACTER}"),
        (http("語".encode() * 2000), "語" * 1024),
        (http(), None),
        (TcpAnswer(received=b"220 hi\r\n"), "220 hi\r\n"),
        (WebSocketAnswer(status=101, upgraded=True, received=b"{}"), "{}"),
        (DnsAnswer(rcode="NXDOMAIN"), None),
        (None, None),
    ],
)
def test_the_beginning_of_the_body_is_kept_as_people_read_it(answer, excerpt):
    """Failures keep the first 1,024 characters, decoded as the answer says."""
    assert kept(answer).excerpt == excerpt
    assert kept(answer, verdict=Verdict(up=True)).excerpt is None


def test_half_a_secret_is_none_to_show():
    """If the probe cut the answer within a secret, the rest of the secret is removed too."""
    secret = "correct-horse-battery"
    for length in range(4, len(secret) + 1):
        first = kept(http(b"token: " + secret[:length].encode()), secrets=(secret,))
        assert first.excerpt in ("token: ", "token: <secret>")
        last = kept(TcpAnswer(received=secret[-length:].encode() + b" :token"), secrets=(secret,))
        assert last.excerpt in (" :token", "<secret> :token")


def test_secrets_are_masked_for_every_protocol():
    """They are masked wherever an answer repeats one."""
    secret = "hunter22"
    echoed = (("X-Echo", secret), ("Set-Cookie", "id=1234; path=/"))
    for answer in (
        http(secret.encode(), echoed),
        WebSocketAnswer(status=101, upgraded=True, headers=echoed, received=secret.encode()),
        TcpAnswer(received=secret.encode(), captures=(("user", secret),)),
        DnsAnswer(rcode="NOERROR", answer=(secret,), authority=(secret,), additional=(secret,)),
    ):
        failure = Failure(Reason.READ_TIMEOUT, f"no answer after {secret}")
        shown = repr(kept(answer, secrets=(secret,), failure=failure))
        assert secret not in shown
        assert "<secret>" in shown
        assert "1234" not in shown


def test_urls_and_failures_are_masked_whatever_the_probe_left_in_them():
    """URLs, redirects and failures of a result hold no secret, whole or cut in half."""
    hop = Hop(url=f"http://a.example/{'x' * 975}?key=hunter22", status=302)
    answer = http(redirects=(hop,), url="http://b.example/hunter22/")
    failure = Failure(Reason.PROTOCOL_ERROR, f"{'y' * 990} said hunter22")
    result = kept(answer, secrets=("hunter22",), failure=failure)
    assert "hun" not in repr(result.observation)
    assert result.observation.answer.url == "http://b.example/<secret>/"
    assert result.observation.failure.message.startswith("yyy")


def test_what_a_check_was_given_is_masked_and_forgotten():
    """A token that the probe fetched is masked like the site's own secrets, which stay masked."""
    echo = http(b"t0ken-1 hunter22", (("X-Echo", "t0ken-1"),))
    shown = kept(echo, secrets=("hunter22",), seen_secrets=("t0ken-1",))
    assert shown.excerpt == "<secret> <secret>"
    assert shown.observation.answer.headers == (("X-Echo", "<secret>"),)
    assert shown.observation.secrets == ()


def test_headers_are_bounded_in_number_and_length():
    """The first ones are kept, each cut, with the number of those that are missing."""
    many = kept(http(headers=tuple((f"X-{n}", "v") for n in range(1000)))).observation.answer
    assert len(many.headers) == 51
    assert many.headers[0] == ("X-0", "v")
    assert many.headers[-1] == ("…", "950 more")
    long = kept(http(headers=(("A", "x" * 100_000),) * 20)).observation.answer
    assert long.headers[0] == ("A", "x" * 1024 + "…")
    assert long.headers[-1] == ("…", "17 more")
    few = (("A", "b"), ("C", "d"))
    assert kept(http(headers=few)).observation.answer.headers == few


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 51])
@pytest.mark.parametrize("length", [1, 238, 239, 2000])
@pytest.mark.parametrize("name", ["x-cache", "Set-Cookie"])
def test_few_short_headers_are_kept_as_many_long_ones_are(count, length, name):
    """The fast path for most answers keeps what the path for sites with secrets keeps."""
    headers = tuple((name, f"{'v' * length}={number}") for number in range(count))
    masked = kept(http(headers=headers), secrets=("nowhere in there",))
    assert kept(http(headers=headers)).observation == masked.observation


def test_an_analysis_of_an_earlier_result_is_kept_as_it_is():
    """It is truncated already, and all results of the site share it."""
    names = tuple(f"{number}.example" for number in range(2000))
    observation = Observation(time=1.0, duration=0.1, answer=http())
    found = Analysis(verdict=UP, chain=(replace(LEAF, names=names),))
    first = judged(site(), observation, found, as_text).analysis
    assert first is not None
    assert first != found
    assert judged(site(), observation, first, as_text, kept=True).analysis is first


def test_certificates_are_bounded():
    """Of a thousand names, a long subject and a chain of a hundred, the leaf comes first."""
    names = tuple(f"host-{n}.example.com" for n in range(1000))
    leaf = replace(LEAF, names=names, subject="CN=" + "x" * 60_000)
    chain = kept(None, chain=(leaf, *[replace(LEAF, names=names)] * 100)).analysis.chain
    assert len(chain) == 10
    assert chain[0].names[0] == "host-0.example.com"
    assert chain[0].names[-1] == f"… and {1000 - len(chain[0].names) + 1} more"
    assert 400 < len(chain[0].names) < 500
    assert chain[1].names == ("… and 1000 more",)
    assert len(chain[0].subject) == 513
    assert kept(None, chain=(LEAF, LEAF)).analysis.chain == (LEAF, LEAF)


def test_records_that_are_not_kept_still_count():
    """Metrics show how many records a section had, so each leaves a placeholder."""
    records = tuple(f"{n}.example. 60 IN A 192.0.2.1" for n in range(4000))
    answer = kept(DnsAnswer(rcode="NOERROR", answer=records)).observation.answer
    assert len(answer.answer) == 4000
    assert answer.answer[:100] == records[:100]
    assert set(answer.answer[100:]) == {"…"}


def test_a_hostile_answer_takes_little_memory():
    """Whatever is large in it, at most some tens of KiB are kept."""
    big = "x" * 300_000
    names = tuple(f"host-{n}.example.com" for n in range(5000))
    hops = tuple(Hop(url=big, status=302, tls=TlsSession(chain=(big,))) for _ in range(10))
    leaf = replace(LEAF, names=names, subject=big, issuer=big, serial=big)
    result = kept(
        http(b"x" * 2**20, ((big, big),) * 100, url=big, redirects=hops),
        failure=Failure(Reason.BODY_TOO_LARGE, big),
        verdict=Verdict(up=False, reason=Reason.BODY_TOO_LARGE, message=big),
        tls=TlsSession(chain=(big,) * 10),
        chain=(leaf,) * 50,
        hop_chains=((leaf,) * 50,) * 10,
    )
    assert size(result) < 100_000
    records = DnsAnswer(rcode="NOERROR", answer=(big,) * 1000)
    assert size(kept(records)) < 100_000
    assert size(kept(TcpAnswer(captures=(("a", big),), received=big.encode()))) < 10_000


def test_the_evidence_has_it_all():
    """Time, phases, address, status, headers, body, chain and message are in the JSON form."""
    answer = http(b"sorry", (("Server", "nginx"),))
    tls = TlsSession(version="TLS 1.3", chain=("PEM",), verified=True)
    form = result_json(kept(answer, tls=tls, address="192.0.2.1", chain=(LEAF, LEAF)))
    assert form["time"] == "1970-01-01T00:00:01.000Z"
    assert (form["status"], form["headers"]) == (500, [["Server", "nginx"]])
    assert (form["reason"], form["message"], form["excerpt"]) == ("body", "why", "sorry")
    assert form["certificate"]["subject"] == form["chain"][0]["subject"] == "CN=a.example"
    assert form["address"] == "192.0.2.1"
    records = DnsAnswer(rcode="NOERROR", answer=("a",), authority=("b",), additional=("c",))
    form = result_json(kept(records))
    assert [form[key] for key in ("answers", "authority", "additional")] == [["a"], ["b"], ["c"]]
