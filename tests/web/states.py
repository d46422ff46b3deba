"""States of sites as the engine would publish them."""

from typing import Any

from monitor.board import BoardEntry, Series, Shape, StatusBoard
from monitor.model import (
    UP,
    Analysis,
    Certificate,
    Counters,
    HttpAnswer,
    Observation,
    Past,
    Phase,
    Reason,
    Result,
    Site,
    SiteState,
    Status,
    TlsSession,
    Verdict,
)
from tests import builders

NOW = 1_800_000_000.0
DAY = 86400.0

PHASES = {
    Phase.RESOLVE: 0.004,
    Phase.CONNECT: 0.011,
    Phase.TLS: 0.032,
    Phase.PROCESSING: 0.071,
    Phase.TRANSFER: 0.005,
}
CERTIFICATE = Certificate(
    subject="CN=shop.example.com",
    issuer="CN=Example CA,O=Example",
    names=("shop.example.com", "www.shop.example.com"),
    serial="0a1b",
    not_before=NOW - 30 * DAY,
    not_after=NOW + 60 * DAY,
    fingerprint="ab" * 32,
)


def result(
    name: str,
    *,
    reason: Reason | None = None,
    message: str = "",
    error: str | None = None,
    status: int = 200,
    duration: float = 0.123,
    time: float = NOW - 5,
    excerpt: str | None = None,
) -> Result:
    verdict = UP if reason is None else Verdict(up=False, reason=reason, message=message)
    return Result(
        site=name,
        url=f"https://{name}/health",
        observation=Observation(
            time=time,
            duration=duration,
            phases=PHASES,
            address="192.0.2.10",
            answer=HttpAnswer(
                status=status,
                version="2",
                headers=(("content-type", "text/html"), ("server", "nginx")),
                body_size=5120,
            ),
            tls=TlsSession(version="TLS 1.3", cipher="TLS_AES_128_GCM_SHA256", verified=True),
        ),
        analysis=None if error else Analysis(verdict=verdict, chain=(CERTIFICATE,)),
        error=error,
        excerpt=excerpt,
    )


def past(number: int, *, up: bool | None = True) -> Past:
    return Past(time=NOW - 5 - 60 * number, duration=0.08 + 0.02 * (number % 5), up=up)


def up(name: str, **site: Any) -> SiteState:
    return _state(name, Status.UP, result(name), [past(one) for one in range(20)], **site)


def down(
    name: str,
    message: str = "status 503 is not in 2xx",
    excerpt: str = "<h1>Service Unavailable</h1>\n<p>Try later.</p>",
    **site: Any,
) -> SiteState:
    last = result(name, reason=Reason.STATUS, message=message, status=503, excerpt=excerpt)
    earlier = result(
        name,
        reason=Reason.CONNECT_TIMEOUT,
        message="no connection to 192.0.2.10:443 within 5s",
        time=NOW - 3 * DAY,
    )
    recent = [past(one, up=one > 3) for one in range(20)]
    return _state(name, Status.DOWN, last, recent, failures=(last, earlier), **site)


def unchecked(name: str, **site: Any) -> SiteState:
    return SiteState(site=_site(name, **site), since=NOW - 2)


def error(name: str, **site: Any) -> SiteState:
    """Return the state of an up site that the monitor currently cannot check."""
    last = result(name, error="no file descriptor is left for a connection")
    recent = [past(0, up=None), *(past(one) for one in range(1, 12))]
    return _state(name, Status.UP, last, recent, finished=result(name), **site)


def board(*states: SiteState) -> StatusBoard:
    found = StatusBoard()
    nothing = Series(Shape({}), b"", ())
    found.publish(BoardEntry(state, nothing) for state in states)
    return found


def _state(
    name: str,
    status: Status,
    last: Result,
    recent: list[Past],
    *,
    finished: Result | None = None,
    failures: tuple[Result, ...] = (),
    **site: Any,
) -> SiteState:
    return builders.state(
        _site(name, **site),
        last,
        status=status,
        since=NOW - 11_520,
        streak=4,
        finished=finished or last,
        recent=tuple(recent),
        failures=failures,
        counters=Counters(checks=2880, failures={Reason.STATUS: 3} if failures else {}),
    )


def _site(name: str, **site: Any) -> Site:
    url = site.get("target", f"https://{name}/health")
    given = {"url": url, "target": url, "scheme": "https", "interval": 60.0, "timeout": 10.0}
    return builders.site(name, **given | site)
