"""
The table of all expectations for an answer, in the order of a transaction.

Each row is beside its rule, in the module of its topic. The forms are read with the configuration;
the checks run in the worker processes. A check returns None, or the reason why the rule does not
hold, with the value that broke it. If the value to judge is missing, it raises Unseen, and the
expectation fails too.

Values that are read without judging them (series, change detection) have their own table, in
readings.py.
"""

from collections.abc import Mapping
from typing import Any

from monitor.analysis import expression
from monitor.analysis.expectations.dns import ADDITIONAL, ANSWER, AUTHORITY, FLAGS, RCODE
from monitor.analysis.expectations.http import BODY, HEADER, HTTP_VERSION, JSON, REDIRECTS
from monitor.analysis.expectations.latency import LATENCY
from monitor.analysis.expectations.status import STATUS
from monitor.analysis.expectations.tls import CERTIFICATE, TLS, TLS_VERSION
from monitor.analysis.expectations.words import parsed
from monitor.analysis.rules import each, one_or_list
from monitor.model import ExpectationKind, Reason
from monitor.protocols.table import EVERY


def parse_expressions(value: Any) -> tuple[str, ...]:
    """Read one CEL expression or several; raises ValueError for one with a mistake."""
    return tuple(map(expression.parse_expression, each(value)))


def _check_expressions_protocol(sources: tuple[str, ...], protocol: str) -> None:
    for source in sources:
        expression.check_protocol(source, protocol)


THAT = ExpectationKind(
    shape=parsed(
        tuple[str, ...], parse_expressions, one_or_list({"type": "string", "minLength": 1})
    ),
    reason=Reason.EXPRESSION,
    check=expression.why_not_all,
    protocols=EVERY,
    reads_body=True,
    reads_body_when=lambda sources: any(map(expression.uses_body, sources)),
    check_protocol=_check_expressions_protocol,
    doc="A CEL expression, or several; each must be true. latency and rtt are numbers of"
    " seconds, certificate.days_left of days: latency < 0.3.",
)


EXPECTATIONS: Mapping[str, ExpectationKind] = {
    "status": STATUS,
    "header": HEADER,
    "body": BODY,
    "json": JSON,
    "latency": LATENCY,
    "certificate": CERTIFICATE,
    "http_version": HTTP_VERSION,
    "tls": TLS,
    "tls_version": TLS_VERSION,
    "redirects": REDIRECTS,
    "that": THAT,
    "rcode": RCODE,
    "flags": FLAGS,
    "answer": ANSWER,
    "authority": AUTHORITY,
    "additional": ADDITIONAL,
}
"""Every key under ``expect``, in the order of a transaction (model.Reason)."""
