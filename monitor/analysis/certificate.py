"""
Certificates: PEM to records, which names they cover, and why one was not accepted.

Runs in the worker processes. The peer writes the certificate, so any part of it may be malformed.
cryptography is loaded with the first certificate: a worker that sees no certificate saves its 45 ms
and 15 MB.
"""

import warnings
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from monitor.analysis.text import enumerate_few, plain
from monitor.model import Certificate, Failure, Reason, Seconds, Timestamp
from monitor.options import show_minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

_DAY: Seconds = 86400


def decode_chain(pems: tuple[str, ...]) -> tuple[Certificate, ...]:
    """
    Return the certificates in order, up to the first that cannot be read at all; never raises.

    Certificates after an unreadable one are omitted too, so that positions keep their meaning: the
    first certificate is the leaf, or the chain is empty.
    """
    chain = []
    for pem in pems:
        certificate = _decode(pem)
        if certificate is None:
            break
        chain.append(certificate)
    return tuple(chain)


# By content: every check of a site has the same chain, and many sites have the same intermediates.
# 2,048 of them are about 8 MB.
@lru_cache(maxsize=2048)
def _decode(pem: str) -> Certificate | None:
    from cryptography import x509  # noqa: PLC0415  see the module's docstring
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  the same

    with warnings.catch_warnings():
        # A negative serial number or an odd country code is the peer's fault, not worth a warning
        warnings.simplefilter("ignore")
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            return Certificate(
                subject=_read(lambda: x509.Name.rfc4514_string(certificate.subject), ""),
                issuer=_read(lambda: x509.Name.rfc4514_string(certificate.issuer), ""),
                names=_read(lambda: _alternative_names(certificate), ()),
                serial=_read(lambda: format(certificate.serial_number, "x"), ""),
                not_before=certificate.not_valid_before_utc.timestamp(),
                not_after=certificate.not_valid_after_utc.timestamp(),
                fingerprint=certificate.fingerprint(SHA256()).hex(),
                constrained=_read(lambda: _is_constrained(certificate), False),
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # also a panic of a Rust library, which is not an Exception
            return None


def _read(read: "Callable[[], Any]", otherwise: Any) -> Any:
    try:
        return read()
    except Exception:  # one unreadable field does not hide the others
        return otherwise


def _alternative_names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415  see the module's docstring

    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    hosts = extension.value.get_values_for_type(x509.DNSName)
    return (
        *(f"DNS:{host}" if _address(host) else host for host in hosts),
        *map(str, extension.value.get_values_for_type(x509.IPAddress)),
    )


def _is_constrained(certificate: "x509.Certificate") -> bool:
    from cryptography import x509  # noqa: PLC0415  see the module's docstring

    return any(isinstance(one.value, x509.NameConstraints) for one in certificate.extensions)


def covers(names: tuple[str, ...], host: str) -> bool:
    """
    Return whether one of a certificate's names matches the host, by RFC 9525, section 6.3.

    A ``*`` matches exactly one label, the leftmost, and in libcurl never right below the top:
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


def why_not_covered(certificate: Certificate, host: str) -> str:
    """Return the sentence that a certificate does not cover a host, and why."""
    return f"{describe(certificate)} does not cover {plain(host)}{_hint(certificate.names, host)}"


def _hint(names: tuple[str, ...], host: str) -> str:
    if not names:
        return ": it has no subject alternative name, and the common name does not count (RFC 9525)"
    if _address(host) is not None:
        if any(_address(name.removeprefix("DNS:")) == _address(host) for name in names):
            return ", because it names the address as a DNS name; it must be an IP address there"
        return ""
    return next(filter(None, (_star_hint(_ascii(name), _ascii(host)) for name in names)), "")


def _star_hint(name: str, host: str) -> str:
    star, _, parent = name.partition(".")
    below = host.endswith(f".{parent}")
    if star != "*" or not (below or host == parent):
        return ""
    if not below:
        return f", because {plain(name)} stands for names below {plain(parent)} alone"
    if "." not in parent:
        return f", because at least two labels must follow the star of {plain(name)}"
    return f", because the star of {plain(name)} stands for one label alone"


def describe(certificate: Certificate) -> str:
    """Return the name of a leaf in messages: its names, else its subject."""
    if certificate.names:
        return f"certificate for {show_names(certificate.names)}"
    return f"certificate {plain(certificate.subject)}" if certificate.subject else "certificate"


def show_names(names: tuple[str, ...]) -> str:
    """Return the first names of a certificate and how many more there are."""
    return enumerate_few(map(plain, names)) or "no name"


def show_days(seconds: Seconds) -> str:
    """Return a span in days, as is usual for certificates: ``9.3 days``."""
    return f"{seconds / _DAY:.1f} days"


# OpenSSL's X509_V_ERR_… for which the decoded chain says more than the verdict
_SELF_SIGNED = 18
_UNKNOWN_ISSUER = {2, 19, 20, 21}
_NAME_CONSTRAINTS = {47, 48}


def why_not_accepted(
    failure: Failure, verdict: int, chain: tuple[Certificate, ...], host: str, now: Timestamp
) -> str:
    """
    Return the probe's message with details from the decoded chain: the names, the date, the issuer.

    Args:
        failure: A failure with one of the ``tls_…`` reasons for certificates; its message is kept
            if the chain does not say more.
        verdict: OpenSSL's number for why it refused the chain; 0 if it did not.
        host: The name that the certificate had to cover.
        now: When the check started.
    """
    message = failure.message
    if not chain:
        return message
    leaf = chain[0]
    expired = next((one for one in chain if one.not_after < now), None)
    early = next((one for one in chain if one.not_before > now), None)
    match failure.reason:
        case Reason.TLS_WRONG_HOST if host and not covers(leaf.names, host):
            message = why_not_covered(leaf, host)
        case Reason.TLS_EXPIRED if expired:
            when, ago = show_minute(expired.not_after), show_days(now - expired.not_after)
            message = f"{_which(expired, leaf)} expired on {when}, {ago} ago"
        case Reason.TLS_NOT_YET_VALID if early:
            message = f"{_which(early, leaf)} is not valid before {show_minute(early.not_before)}"
        case Reason.TLS_UNTRUSTED if verdict == _SELF_SIGNED:
            message = f"{describe(leaf)} is self-signed by {_issuer(leaf)}"
        case Reason.TLS_UNTRUSTED if verdict in _UNKNOWN_ISSUER:
            last = _end(chain)
            message = f"{_which(last, leaf)} is issued by {_issuer(last)}, which is not trusted"
            if last is leaf:
                message += "; does the server send its intermediates?"
        case Reason.TLS_UNTRUSTED if verdict in _NAME_CONSTRAINTS:
            limited = next((one for one in chain[1:] if one.constrained), None)
            who = f"the authority {plain(limited.subject)}" if limited else "an authority"
            message = f"{describe(leaf)} is outside the names for which {who} may issue"
    return message


def _end(chain: tuple[Certificate, ...]) -> Certificate:
    """Return the last certificate on the way up from the leaf; the server's order may be wrong."""
    last, others = chain[0], list(chain[1:])
    while issuer := next((one for one in others if one.subject == last.issuer), None):
        others.remove(issuer)
        last = issuer
    return last


def _which(one: Certificate, leaf: Certificate) -> str:
    return describe(leaf) if one is leaf else f"certificate of the authority {plain(one.subject)}"


def _issuer(certificate: Certificate) -> str:
    return plain(certificate.issuer) or "nobody"
