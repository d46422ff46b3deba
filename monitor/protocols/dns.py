"""What is shown and kept of a DNS reply."""

from collections.abc import Iterator
from typing import Any

from monitor.model import DnsAnswer, Site
from monitor.protocols.facet import (
    LONGEST_VALUE,
    Facet,
    Leaves,
    Row,
    Step,
    cut,
    kept_records,
    no_evidence,
)
from monitor.records import replace


def _json(answer: DnsAnswer, _: Leaves) -> dict[str, Any]:
    return {
        "rcode": answer.rcode,
        "dns_flags": list(answer.flags),
        "answers": list(answer.answer),
        "authority": list(answer.authority),
        "additional": list(answer.additional),
        "serial": answer.serial,
        "truncated": answer.truncated,
        "edns_size": answer.edns_size,
        "nsid": answer.nsid,
        "extended_errors": list(answer.extended_errors),
    }


def _rows(answer: DnsAnswer) -> Iterator[Row]:
    yield "rcode", " ".join((answer.rcode, *answer.flags))
    for text in answer.extended_errors:
        yield "error", text
    yield "server", answer.nsid
    for name in ("answer", "authority", "additional"):
        for record in getattr(answer, name):
            yield name, record


def _steps(answer: DnsAnswer, _: str) -> Iterator[Step]:
    yield "Got response", {"rcode": answer.rcode, "answers": len(answer.answer)}


def _kept(answer: DnsAnswer, site: Site) -> DnsAnswer:
    return replace(
        answer,
        answer=kept_records(site, answer.answer),
        authority=kept_records(site, answer.authority),
        additional=kept_records(site, answer.additional),
        nsid=answer.nsid and cut(site.redact(answer.nsid), LONGEST_VALUE),
        extended_errors=kept_records(site, answer.extended_errors),
    )


DNS = Facet(
    keys=(
        "rcode",
        "dns_flags",
        "answers",
        "authority",
        "additional",
        "serial",
        "truncated",
        "edns_size",
        "nsid",
        "extended_errors",
    ),
    json=_json,
    rows=_rows,
    steps=_steps,
    kept=_kept,
    evidence=no_evidence,
)
