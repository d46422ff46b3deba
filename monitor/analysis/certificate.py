"""
Certificates: PEM to records, which names they cover, and why one was not accepted.

Runs in the worker processes. A certificate is the peer's to write, so nothing of one is trusted to
be well formed. cryptography is loaded with the first certificate: a worker that sees none does
without its 45 ms and 15 MB.
"""

import warnings
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from monitor.analysis.text import enumerate_few, plain
from monitor.model import Certificate, Reason, Seconds, Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

_DAY: Seconds = 86400


def decode_chain(pems: tuple[str, ...]) -> tuple[Certificate, ...]:
    """
    Return the certificates in order, up to the first that cannot be read at all; never raises.

    What comes after an unreadable one is left out too, so that a place in the chain keeps its
    meaning: the first is the leaf or there is none.
    """
    chain = []
    for pem in pems:
        certificate = _decode(pem)
        if certificate is None:
            break
        chain.append(certificate)
    return tuple(chain)


# By content: the same chain comes with every check of a site, the same intermediates with many
# sites. 2,048 of them are about 8 MB.
@lru_cache(maxsize=2048)
def _decode(pem: str) -> Certificate | None:
    from cryptography import x509  # noqa: PLC0415  see the module's docstring
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  the same

    with warnings.catch_warnings():
        # A negative serial number or an odd country code is the peer's fault and no news
        warnings.simplefilter("ignore")
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            return Certificate(
                subject=_read(lambda: x509.Name.rfc4514_string(certificate.subject), ""),
                issuer=_read(lambda: x509.Name.rfc4514_string(certificate.issuer), ""),
                names=_read(lambda: _alternative_names(certificate), ())
                or _common_names(certificate),
                serial=_read(lambda: format(certificate.serial_number, "x"), ""),
                not_before=certificate.not_valid_before_utc.timestamp(),
                not_after=certificate.not_valid_after_utc.timestamp(),
                fingerprint=certificate.fingerprint(SHA256()).hex(),
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # also a panic of a Rust library, which is no Exception
            return None


def _read(read: "Callable[[], Any]", otherwise: Any) -> Any:
    try:
        return read()
    except Exception:  # one unreadable field does not hide the others
        return otherwise


def _alternative_names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415  see the module's docstring

    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return (
        *extension.value.get_values_for_type(x509.DNSName),
        *map(str, extension.value.get_values_for_type(x509.IPAddress)),
    )


def _common_names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography.x509.oid import NameOID  # noqa: PLC0415  see the module's docstring

    attributes = _read(lambda: certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME), ())
    return tuple(str(attribute.value) for attribute in attributes)


def covers(names: tuple[str, ...], host: str) -> bool:
    """
    Return whether one of a certificate's names stands for the host, by RFC 6125, section 6.4.

    A ``*`` stands for exactly one label, the leftmost, and with OpenSSL never right below the top:
    ``*.example.com`` covers ``a.example.com``, not ``a.b.example.com``; ``*.com`` covers nothing.
    """
    address = _address(host)
    if address is not None:
        return any(_address(name) == address for name in names)
    host = _ascii(host)
    _, _, parent = host.partition(".")
    accepted = {host, f"*.{parent}"} if "." in parent else {host}
    return any(_ascii(name) in accepted for name in names)


def _address(host: str) -> Any:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    name = name.rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def show_names(names: tuple[str, ...]) -> str:
    """Return the first names of a certificate and how many more there are."""
    return enumerate_few(map(plain, names)) or "no name"


def show_moment(time: Timestamp) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def show_days(seconds: Seconds) -> str:
    """Return a span as certificates are thought of: ``9.3 days``."""
    return f"{seconds / _DAY:.1f} days"


def why_not_accepted(
    reason: Reason, message: str, chain: tuple[Certificate, ...], host: str, now: Timestamp
) -> str:
    """
    Return the probe's message with what the decoded chain adds: the names, the date, the issuer.

    Args:
        reason: The failure's; of the ``tls_…`` ones, those that a certificate caused.
        message: What the probe could say; kept where the chain does not tell more.
        host: The name that the certificate had to cover.
        now: When the check started.
    """
    if not chain:
        return message
    leaf = chain[0]
    expired = next((one for one in chain if one.not_after < now), None)
    early = next((one for one in chain if one.not_before > now), None)
    match reason:
        case Reason.TLS_WRONG_HOST if host and not covers(leaf.names, host):
            message = f"{_which(leaf, leaf)} does not cover {plain(host)}"
        case Reason.TLS_EXPIRED if expired:
            when, ago = show_moment(expired.not_after), show_days(now - expired.not_after)
            message = f"{_which(expired, leaf)} expired on {when}, {ago} ago"
        case Reason.TLS_NOT_YET_VALID if early:
            message = f"{_which(early, leaf)} is not valid before {show_moment(early.not_before)}"
        case Reason.TLS_UNTRUSTED if leaf.issuer == leaf.subject:
            message = f"{_which(leaf, leaf)} is self-signed by {_issuer(leaf)}"
        case Reason.TLS_UNTRUSTED:
            message = f"{_which(leaf, leaf)} is issued by {_issuer(chain[-1])}: {message}"
    return message


def _which(one: Certificate, leaf: Certificate) -> str:
    if one is leaf:
        return f"certificate for {show_names(leaf.names)}"
    return f"certificate of the authority {plain(one.subject)}"


def _issuer(certificate: Certificate) -> str:
    return plain(certificate.issuer) or "nobody"
