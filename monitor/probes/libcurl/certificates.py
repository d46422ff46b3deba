"""Files of authorities and client certificates, and the names that a certificate covers."""

import os
import re
import ssl
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from monitor.errors import ProbeError

_SAN = re.compile(r"(?:^|, )(?:DNS|IP Address):([^,\s]+)")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\n?")
_MOST_OWN_CERTIFICATES = 10

# Where distributions keep the bundle of trusted authorities
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


Stamp: TypeAlias = tuple[int, int, int, int]


@cache
def trust_store() -> str:
    """Return the PEM file of the authorities that the system trusts, or else certifi's."""
    # Not .cafile: that follows SSL_CERT_FILE, and the environment must have no effect
    for path in (ssl.get_default_verify_paths().openssl_cafile, *_BUNDLES):
        if Path(path).is_file():
            return path
    return DEFAULT_CA_BUNDLE_PATH


def stamp_of(path: str) -> Stamp:
    """
    Return a value that changes when the file of authorities does.

    Raises:
        ProbeError: The file cannot be read.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  at each check; a Path takes four times as long
    except OSError as error:
        raise ProbeError(f"cannot read the authorities in {path}: {error.strerror}") from error
    # A replacement may have an older mtime; ctime says when it was put there
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino


def alternative_names(leaf: Mapping[str, str]) -> list[str]:
    """Return the host names and addresses of a certificate in libcurl's form."""
    return _SAN.findall(leaf.get("X509v3 Subject Alternative Name", ""))


def own_certificates(path: str) -> tuple[str, ...]:
    """Return the certificates of a PEM file, and never the key that it may also contain."""
    try:
        return _certificates_in(path, stamp_of(path))
    except ProbeError:
        return ()


@lru_cache(maxsize=256)
def _certificates_in(path: str, _stamp: Stamp) -> tuple[str, ...]:
    try:
        text = Path(path).read_text("ascii", "replace").replace("\r\n", "\n")
    except OSError:
        return ()
    return tuple(_PEM.findall(text)[:_MOST_OWN_CERTIFICATES])
