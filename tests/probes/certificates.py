"""Certificates that no authority should issue, and some that one may, for test servers."""

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
CLIENTS_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A certificate with its key, and the issuers that a server sends with it.

    Attributes:
        above: The issuers, the nearest first, without the root.
    """

    certificate: x509.Certificate
    key: Any
    above: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def chain(self) -> bytes:
        return b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.above))

    def private(self) -> bytes:
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def file(self, path: Path) -> str:
        """Write the chain and the key into one file."""
        path.write_bytes(self.chain() + self.private())
        return str(path)

    def serve_by(self, context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
        """Make a server's context present this certificate from now on."""
        context.load_cert_chain(self.file(folder / f"{self.certificate.serial_number}.pem"))
        return context

    def context(self, folder: Path, *, weak: bool = False) -> ssl.SSLContext:
        """
        Return a server's context that presents it.

        Args:
            weak: Whether OpenSSL may use a key that it considers too weak.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if weak:
            context.set_ciphers("ALL:@SECLEVEL=0")
        return self.serve_by(context, folder)


def weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505  on purpose


def issue(
    common: str,
    *names: str,
    by: Identity | None = None,
    begins: timedelta = -9 * DAY,
    ends: timedelta = 90 * DAY,
    authority: bool = False,
    key: Any = None,
    extensions: Sequence[x509.ExtensionType] = (),
    sends: bool = True,
) -> Identity:
    """
    Return a certificate for these names.

    Args:
        names: DNS names and addresses; ``DNS:`` before an address makes a DNS name of it.
        by: Its issuer; without one the certificate is self-signed.
        begins: Time from now, as is ``ends``.
        authority: Whether it may issue others.
        sends: Whether a server also sends its issuer, if that one has an issuer in turn.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    is_root = by is None or by.certificate.issuer == by.certificate.subject
    above = () if is_root or by is None or not sends else (by.certificate, *by.above)
    return Identity(certificate, key, above)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text.removeprefix("DNS:"))
