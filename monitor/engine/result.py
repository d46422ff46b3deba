"""What of a finished check is kept and shown: no bodies, no PEM, secrets masked. Pure."""

from dataclasses import replace

from monitor.model import (
    Analysis,
    Answer,
    Failure,
    HttpAnswer,
    Observation,
    Result,
    Seconds,
    Site,
    TcpAnswer,
    Timestamp,
    WebSocketAnswer,
)

_EXCERPT = 1024


def judged(site: Site, seen: Observation, analysis: Analysis) -> Result:
    """Return the result of a check that was judged."""
    verdict = analysis.verdict
    return Result(
        site=site.name,
        url=site.target,
        observation=_keep(site, seen),
        analysis=replace(analysis, verdict=replace(verdict, message=site.redact(verdict.message))),
        excerpt=None if verdict.up else _excerpt(site, seen.answer),
    )


def unanswered(seen: Observation) -> Failure | None:
    """Return the failure of a check that brought no answer and no certificate to analyse."""
    return seen.failure if seen.answer is None and seen.tls is None else None


def spoilt(site: Site, time: Timestamp, duration: Seconds, error: str) -> Result:
    """Return the result of a check that the monitor itself could not do."""
    return Result(
        site=site.name,
        url=site.target,
        observation=Observation(time=time, duration=duration),
        error=site.redact(error),
    )


def unproven(result: Result) -> Result:
    """Return the result of a check that failed while the monitor's own connection was lost."""
    verdict = result.analysis.verdict if result.analysis else None
    why = f": {verdict.message}" if verdict else ""
    error = f"the monitor's own connection is lost, no connectivity target answers{why}"
    return replace(result, analysis=None, error=error)


def _keep(site: Site, seen: Observation) -> Observation:
    answer = seen.answer
    match answer:
        case HttpAnswer():
            answer = replace(
                answer,
                body=b"",
                headers=_shown(site, answer.headers),
                redirects=tuple(
                    replace(hop, tls=hop.tls and replace(hop.tls, chain=()))
                    for hop in answer.redirects
                ),
            )
        case WebSocketAnswer():
            answer = replace(answer, received=b"", headers=_shown(site, answer.headers))
        case TcpAnswer():
            answer = replace(
                answer,
                received=b"",
                captures=tuple((name, site.redact(text)) for name, text in answer.captures),
            )
        case _:
            pass
    return replace(
        seen,
        answer=answer,
        tls=seen.tls and replace(seen.tls, chain=()),
        failure=seen.failure and replace(seen.failure, message=site.redact(seen.failure.message)),
    )


def _shown(site: Site, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    # A session cookie that a check with credentials was given is as good as the credentials
    return tuple(
        (name, f"{value.partition('=')[0]}=<secret>")
        if name.lower() == "set-cookie"
        else (name, site.redact(value))
        for name, value in headers
    )


def _excerpt(site: Site, answer: Answer | None) -> str | None:
    match answer:
        case (
            HttpAnswer(body=received)
            | TcpAnswer(received=received)
            | WebSocketAnswer(received=received)
        ):
            pass
        case _:
            return None
    # Masked before it is cut, so that no half of a secret stays at the end
    text = site.redact(received[: 2 * _EXCERPT].decode(errors="replace"))
    return text[:_EXCERPT] or None
