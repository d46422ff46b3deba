"""
The chain through which a server's certificate is trusted, up to an authority of our own.

Runs in the worker processes. libcurl reports the certificates that a server sent; they may be more
than needed, and lack the authority at the end. So this module searches for the path again as
OpenSSL
does: it tries our authorities first, and ends at the first one (X509_V_FLAG_PARTIAL_CHAIN, which
libcurl sets). OpenSSL has already verified the path, so this only checks who issued which.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from monitor.analysis.certificate import decode_chain
from monitor.model import Certificate

if TYPE_CHECKING:
    from cryptography import x509

_PEM = re.compile(
    rb"-----BEGIN (?:X509 )?CERTIFICATE-----.+?-----END (?:X509 )?CERTIFICATE-----", re.DOTALL
)
_LONGEST = 10
_Stamp: TypeAlias = tuple[int, int, int]


def trusted_chain(pems: tuple[str, ...], authorities: str) -> tuple[Certificate, ...]:
    """
    Return the chain from the server's certificate to an authority; never raises.

    Args:
        pems: The certificates the server sent, its own first.
        authorities: The PEM file of the trusted authorities.

    Returns:
        The chain; empty if no path is found, for example because the file has changed.
    """
    try:
        status = Path(authorities).stat()
        stamp = (status.st_ctime_ns, status.st_size, status.st_ino)
        return decode_chain(_find(pems, authorities, stamp))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # also a panic of a Rust library, which is not an Exception
        return ()


@lru_cache(maxsize=2048)
def _find(pems: tuple[str, ...], authorities: str, stamp: _Stamp) -> tuple[str, ...]:
    """Return the chain as PEM."""
    trusted = _authorities(authorities, stamp)
    leaf, *others = _load(pem.encode() for pem in pems)
    chain = [leaf]
    while len(chain) < _LONGEST:
        last = chain[-1]
        own = trusted.get(last.issuer.public_bytes(), ())
        if last.issuer == last.subject and last in own:
            return _as_pem(chain)
        if issuer := next(_issuers(last, own), None):
            return _as_pem([*chain, issuer])
        issuer = next(_issuers(last, others), None)
        if issuer is None or issuer in chain:
            # The server's own certificate may be among the authorities, no matter who issued it
            return _as_pem([leaf]) if leaf in trusted.get(leaf.subject.public_bytes(), ()) else ()
        chain.append(issuer)
    return ()


@lru_cache(maxsize=16)
def _authorities(path: str, _stamp: _Stamp) -> Mapping[bytes, Sequence["x509.Certificate"]]:
    """Return a file's authorities by subject; of two with one name, the later to expire first."""
    found: dict[bytes, list[x509.Certificate]] = {}
    for one in _load(_PEM.findall(Path(path).read_bytes())):
        found.setdefault(one.subject.public_bytes(), []).append(one)
    for group in found.values():
        group.sort(key=lambda one: one.not_valid_after_utc, reverse=True)
    return found


def _load(pems: Iterator[bytes] | Sequence[bytes]) -> list["x509.Certificate"]:
    from cryptography import x509  # noqa: PLC0415  see the docstring of certificate

    loaded = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for pem in pems:
            with suppress(ValueError):  # an unreadable one is useless
                loaded.append(x509.load_pem_x509_certificate(pem))
    return loaded


def _issuers(
    one: "x509.Certificate", candidates: Sequence["x509.Certificate"]
) -> Iterator["x509.Certificate"]:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  the same

    for other in candidates:
        if other.subject != one.issuer:
            continue
        try:
            one.verify_directly_issued_by(other)
        except (InvalidSignature, ValueError, TypeError):
            continue
        except Exception:  # noqa: S110  an algorithm of OpenSSL's that is not one of cryptography's
            pass
        yield other


def _as_pem(chain: Sequence["x509.Certificate"]) -> tuple[str, ...]:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  the same

    return tuple(one.public_bytes(Encoding.PEM).decode() for one in chain)
