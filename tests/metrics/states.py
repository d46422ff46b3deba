"""One site of each protocol in the states that its probe can leave it in."""

from dataclasses import replace
from typing import Any

from monitor.model import (
    UP,
    Analysis,
    Certificate,
    Counters,
    DnsAnswer,
    Extracted,
    Failure,
    GrpcAnswer,
    Hop,
    HttpAnswer,
    IcmpAnswer,
    Joint,
    Observation,
    Phase,
    Reason,
    Result,
    Site,
    SiteState,
    Status,
    TcpAnswer,
    TlsSession,
    Verdict,
    Vote,
    WebSocketAnswer,
)
from tests import builders

BOUNDS = (0.1, 0.5, 1.0, 5.0, 10.0)
NOW = 1_795_000_000.0
DAY = 86_400.0

LEAF = Certificate(
    subject="CN=shop.example.com",
    issuer="CN=R11,O=Let's Encrypt,C=US",
    names=("shop.example.com", "www.example.com", "192.0.2.1", "2001:db8::1"),
    serial="3fa94c9d1b",
    not_before=NOW - 30 * DAY,
    not_after=NOW + 60 * DAY,
    fingerprint="ab" * 32,
)
INTERMEDIATE = replace(LEAF, subject="CN=R11", not_after=NOW + 400 * DAY, fingerprint="cd" * 32)
SESSION = TlsSession(
    version="TLS 1.3", cipher="TLS_AES_128_GCM_SHA256", chain=("PEM", "PEM"), verified=True
)
CHAIN = (LEAF, INTERMEDIATE)
JOINT = Joint(
    status=Status.UP,
    split=True,
    votes=(
        Vote(location="fra", state=Status.DOWN, since=NOW, reason=Reason.STATUS),
        Vote(location="nyc", state=Status.UP, since=NOW),
        Vote(location="sin", state=Status.UP, since=NOW, counted=False, why_not="it is late"),
    ),
)
VALIDITY = (LEAF.not_before, LEAF.not_after)

HTTP = Observation(
    time=NOW,
    duration=0.0625,
    phases={
        Phase.RESOLVE: 0.001,
        Phase.CONNECT: 0.002,
        Phase.TLS: 0.004,
        Phase.PROCESSING: 0.05,
        Phase.TRANSFER: 0.0055,
    },
    address="192.0.2.1",
    answer=HttpAnswer(
        status=200,
        version="1.1",
        headers=(
            ("Date", "Tue, 17 Nov 2026 12:26:40 GMT"),
            ("Content-Type", "application/json"),
            ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("Server", "nginx"),
            ("Strict-Transport-Security", "max-age=31536000"),
            ("Cache-Control", "no-cache"),
        ),
        body_size=1234,
        content_length=512,
        redirects=(Hop(url="http://shop.example.com/", status=301),),
    ),
    tls=SESSION,
)
TCP = Observation(
    time=NOW,
    duration=0.003,
    phases={Phase.RESOLVE: 0.001, Phase.CONNECT: 0.002},
    address="2001:db8::1",
    answer=TcpAnswer(captures=(("version", "OpenSSH_9.2"), ("protocol", "2.0"))),
)
ICMP = Observation(
    time=NOW,
    duration=0.03,
    phases={Phase.RESOLVE: 0.001, Phase.SETUP: 0.0001, Phase.RTT: 0.02},
    address="192.0.2.7",
    answer=IcmpAnswer(sent=3, received=3, round_trips=(0.02, 0.02, 0.02), hop_limit=57),
)
DNS = Observation(
    time=NOW,
    duration=0.02,
    phases={Phase.RESOLVE: 0.0, Phase.CONNECT: 0.001, Phase.REQUEST: 0.019},
    address="192.0.2.53",
    answer=DnsAnswer(
        rcode="NOERROR",
        answer=("example.com. 300 IN SOA ns. hostmaster. 2026112201 1 1 1 1",),
        authority=("example.com. 300 IN NS ns.", "example.com. 300 IN NS ns2."),
        serial=2026112201,
    ),
)
GRPC = Observation(
    time=NOW,
    duration=0.02,
    phases={Phase.RESOLVE: 0.001, Phase.CHECK: 0.019},
    address="192.0.2.8",
    answer=GrpcAnswer(status_code=0, serving_status="SERVING"),
    tls=SESSION,
)
WEBSOCKET = Observation(
    time=NOW,
    duration=0.02,
    phases={
        Phase.RESOLVE: 0.001,
        Phase.CONNECT: 0.002,
        Phase.TLS: 0.004,
        Phase.PROCESSING: 0.01,
        Phase.TRANSFER: 0.003,
    },
    address="192.0.2.9",
    answer=WebSocketAnswer(status=101, upgraded=True),
    tls=SESSION,
)

COUNTERS = Counters(
    checks=11,
    failures={Reason.STATUS: 2, Reason.CONNECT_TIMEOUT: 1},
    errors=4,
    skipped={"threads": 3},
    durations=(5, 3, 1, 1, 0, 1),
    duration_sum=14.5,
)


def site(scheme="https", name=None, **values) -> Site:
    """Return the shop as a site reached by this scheme."""
    url = f"{scheme}://shop.example.com"
    given: dict[str, Any] = {
        "labels": (("team", "web"), ("tier", "gold")),
        "group": "storefront",
        "url": url,
        "target": url,
        "interval": 60.0,
    }
    return builders.site(name or f"shop-{scheme}", scheme=scheme, **given | values)


def result(of: Site, seen: Observation, analysis: Analysis | None = None) -> Result:
    """Return the result of a check; with a TLS session, its certificates too."""
    if analysis is None and seen.tls is not None and seen.tls.chain:
        verdict = Verdict.down(seen.failure) if seen.failure else UP
        analysis = Analysis(verdict=verdict, chain=CHAIN, validity=VALIDITY, client=LEAF)
    return builders.result(of, seen, analysis)


def state(of: Site, seen: Observation, analysis: Analysis | None = None, **values) -> SiteState:
    """Return the state that this check confirmed, a day old and with counters."""
    known: dict[str, Any] = {"since": NOW - DAY, "counters": COUNTERS}
    return builders.state(of, result(of, seen, analysis), **known | values)


def broken(*keys: str, reason: Reason) -> Analysis:
    verdict = Verdict(up=False, reason=reason, message="why")
    return Analysis(verdict=verdict, broken=keys)


def failed(reason: Reason, seen: Observation | None = None, **values) -> Observation:
    """Return a check without an answer, or one whose answer is kept under ``answer``."""
    failure = Failure(reason, "why")
    empty = Observation(time=NOW, duration=0.25)
    return replace(seen or empty, **{"failure": failure, "answer": None, "tls": None} | values)


def rich() -> list[SiteState]:
    """Return a healthy site of every protocol, with everything that can be shown for it."""
    expression = (("that", ("status == 200",)),)
    readings = Analysis(
        verdict=UP,
        extracted=(
            Extracted(name="depth", value=7.5),
            Extracted(name="on", value=1.0),
            Extracted(name="lost", why="body is not JSON"),
            Extracted(name="version", value='a "b" \\c'),
        ),
    )
    return [
        state(
            site("http", expect=expression),
            replace(HTTP, tls=None),
            readings,
            content_changed=NOW - 60,
        ),
        state(site("https"), HTTP),
        state(site("tcp"), TCP),
        state(site("tls"), replace(TCP, tls=SESSION)),
        state(site("icmp"), ICMP, because="router"),
        state(site("dns"), DNS),
        state(site("ws"), replace(WEBSOCKET, tls=None)),
        state(site("wss"), WEBSOCKET),
        state(site("grpc"), replace(GRPC, tls=None)),
        state(site("grpcs"), GRPC),
        state(site("tcp", "joined"), TCP, joint=JOINT),
    ]
