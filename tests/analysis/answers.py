"""Answers to judge, and expectations as config decodes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.judge import judge
from monitor.model import (
    Analysis,
    Answer,
    Hop,
    HttpAnswer,
    Job,
    Observation,
    Phase,
    TlsSession,
)
from monitor.options import Parsed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "https://shop.example.org/health"
KEY = ec.generate_private_key(ec.SECP256R1())


def decoded(key: str, written: Any) -> Any:
    """Return the value below one key of ``expect``, decoded as the checks get it."""
    shape = EXPECTATIONS[key].shape
    if shape is bool:
        return written
    parsed = get_args(shape)[1]
    assert isinstance(parsed, Parsed)
    return parsed.parse(written)


def http(
    body: bytes = b"", *headers: tuple[str, str], status: int = 200, **more: Any
) -> HttpAnswer:
    """Return an answer over HTTP/1.1; JSON unless ``headers`` says otherwise."""
    return HttpAnswer(
        status=status,
        version=more.pop("version", "1.1"),
        headers=headers or (("Content-Type", "application/json"),),
        body=body,
        **more,
    )


def hops(count: int) -> tuple[Hop, ...]:
    return tuple(Hop(url=f"http://shop.example.org/{n}", status=302) for n in range(count))


def pem(
    *names: str,
    common: str = "",
    issuer: str = "Test CA",
    before: datetime = NOW - 30 * DAY,
    after: datetime = NOW + 60 * DAY,
) -> str:
    """Return a certificate for these DNS names."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(KEY.public_key())
        .serial_number(255)
        .not_valid_before(before)
        .not_valid_after(after)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(KEY, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


SHOP = pem("*.example.com", "example.com", common="example.com")


def tls(*chain: str, version: str | None = "TLS 1.3", verified: bool | None = True) -> TlsSession:
    return TlsSession(version=version, chain=chain or (SHOP,), verified=verified)


SEEN = Observation(
    time=NOW.timestamp(),
    duration=0.5,
    phases={Phase.RESOLVE: 0.01, Phase.CONNECT: 0.12, Phase.TLS: 0.2},
    address="192.0.2.1",
)


def analysed(answer: Answer | None, expect: dict[str, Any], **more: Any) -> Analysis:
    """Return the analysis of one answer, with expectations as written in YAML."""
    return judge(asked(answer, expect, **more))


def asked(answer: Answer | None, expect: dict[str, Any], **more: Any) -> Job:
    """Return the judge's job for one answer, with expectations as written in YAML."""
    return Job(
        observation=replace(SEEN, answer=answer, **more),
        expect=tuple((key, decoded(key, expect[key])) for key in EXPECTATIONS if key in expect),
        url=URL,
    )


def message(answer: Answer | None, expect: dict[str, Any], **more: Any) -> str:
    """Return why the answer is not as expected; empty if it is."""
    return analysed(answer, expect, **more).verdict.message
