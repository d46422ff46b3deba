"""What is shown and kept of an HTTP answer."""

from collections.abc import Iterator
from typing import Any

from monitor.model import HttpAnswer, Site
from monitor.protocols.facet import (
    LONGEST_NAME,
    Evidence,
    Facet,
    Leaves,
    Row,
    Step,
    cut,
    kept_headers,
    readable_headers,
)
from monitor.records import replace

_LONGEST_URL = 1000
_MOST_CODINGS = 10


def _json(answer: HttpAnswer, leaves: Leaves) -> dict[str, Any]:
    some = [*leaves, *[None] * len(answer.redirects)]
    return {
        "status": answer.status,
        "http_version": answer.version,
        "headers": [list(header) for header in readable_headers(answer.headers)],
        "redirects": [
            {"url": hop.url, "status": hop.status, "address": hop.address, "certificate": leaf}
            for hop, leaf in zip(answer.redirects, some, strict=False)
        ],
        "body_bytes": answer.body_size,
        "codings_left": list(answer.codings),
    }


def _rows(answer: HttpAnswer) -> Iterator[Row]:
    for hop in answer.redirects:
        yield str(hop.status), f"{hop.url} (redirect)"
    yield "status", f"{answer.status} (HTTP/{answer.version})"
    yield "body", f"{answer.body_size:,} bytes"
    yield from readable_headers(answer.headers)


def _steps(answer: HttpAnswer, target: str) -> Iterator[Step]:
    yield "Making HTTP request", {"url": target}
    for hop in answer.redirects:
        yield "Received redirect", {"url": hop.url, "status_code": hop.status}
    yield "Received HTTP response", {"status_code": answer.status, "version": answer.version}


def _kept(answer: HttpAnswer, site: Site) -> HttpAnswer:
    return replace(
        answer,
        headers=kept_headers(site, answer.headers),
        body=b"",
        codings=answer.codings
        and tuple(cut(one, LONGEST_NAME) for one in answer.codings[:_MOST_CODINGS]),
        url=cut(site.redact(answer.url), _LONGEST_URL),
        redirects=answer.redirects
        and tuple(
            replace(
                hop,
                url=cut(site.redact(hop.url), _LONGEST_URL),
                tls=hop.tls and replace(hop.tls, chain=(), client=()),
            )
            for hop in answer.redirects
        ),
    )


def _evidence(answer: HttpAnswer) -> Evidence:
    return answer.body, next(iter(answer.header("content-type")), "")


HTTP = Facet(
    keys=("status", "http_version", "headers", "redirects", "body_bytes", "codings_left"),
    json=_json,
    rows=_rows,
    steps=_steps,
    kept=_kept,
    evidence=_evidence,
)
