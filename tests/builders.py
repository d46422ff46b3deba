"""
Builders of sites, observations and results, as plain as they can be, for every test.

A test names only what it is about: ``site(interval=1.0)``, ``state(of, HTTP, flapping=True)``.
"""

from typing import Any

from monitor.model import (
    UP,
    Analysis,
    Failure,
    HttpAnswer,
    Observation,
    Reason,
    Result,
    Site,
    SiteState,
    Status,
    TlsSession,
    Verdict,
)


def site(name: str = "shop", **values) -> Site:
    defaults: dict[str, Any] = {
        "url": f"http://{name}.test/",
        "target": f"http://{name}.test/",
        "scheme": "http",
        "interval": 10.0,
        "timeout": 5.0,
    }
    return Site(name=name, **(defaults | values))


def answered(time: float = 0.0, duration: float = 0.05, **values) -> Observation:
    answer = HttpAnswer(status=200, version="1.1", **values)
    return Observation(time=time, duration=duration, answer=answer, address="127.0.0.1")


def refused(time: float = 0.0, duration: float = 0.001) -> Observation:
    failure = Failure(Reason.CONNECT_REFUSED, "connection to 127.0.0.1:80 refused")
    return Observation(time=time, duration=duration, failure=failure)


def hung(time: float = 0.0, duration: float = 5.0) -> Observation:
    failure = Failure(Reason.CONNECT_TIMEOUT, "no connection to 192.0.2.1:80 within 5s")
    return Observation(time=time, duration=duration, failure=failure)


def untrusted(time: float = 0.0) -> Observation:
    failure = Failure(Reason.TLS_UNTRUSTED, "self-signed certificate")
    session = TlsSession(chain=("PEM",), verified=False)
    return Observation(time=time, duration=0.01, failure=failure, tls=session)


def up_result(of: Site, time: float = 0.0, duration: float = 0.05) -> Result:
    seen = answered(time, duration)
    return Result(site=of.name, url=of.target, observation=seen, analysis=Analysis(verdict=UP))


def down_result(of: Site, time: float = 0.0, duration: float = 0.05) -> Result:
    verdict = Verdict(up=False, reason=Reason.STATUS, message="status 503 is not in 2xx")
    seen = answered(time, duration)
    return Result(site=of.name, url=of.target, observation=seen, analysis=Analysis(verdict=verdict))


def error_result(of: Site, time: float = 0.0) -> Result:
    seen = Observation(time=time, duration=0.0)
    return Result(site=of.name, url=of.target, observation=seen, error="no file descriptor is left")


def result(of: Site, seen: Observation, analysis: Analysis | None = None, **values: Any) -> Result:
    """Return a check's result: up, unless the observation failed or ``analysis`` says otherwise."""
    if analysis is None:
        analysis = Analysis(verdict=Verdict.down(seen.failure) if seen.failure else UP)
    return Result(site=of.name, url=of.target, observation=seen, analysis=analysis, **values)


def state(of: Site, last: Result, **values: Any) -> SiteState:
    """Return the state of a site whose last result was this one, confirmed."""
    status = Status.UP if last.up else Status.DOWN
    known: dict[str, Any] = {"status": status, "finished": last}
    return SiteState(site=of, last=last, **known | values)
