"""
The file behind ``--web-config``, in the form all Prometheus exporters share (exporter-toolkit).

`config`, which knows YAML, decodes it; `tls` and `access` use it. It lacks only what Python's ssl
module or HTTP/1.1 cannot do: ``curve_preferences``, certificates written into the file itself, and
client certificates without verification.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from monitor.options import FilePath, Secret, option

ClientAuthType = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]
TlsVersion = Literal["TLS12", "TLS13"]

CIPHER_SUITES: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""Go's name of each TLS 1.2 suite that the file may name, and OpenSSL's."""

RESPONSE_HEADERS = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
)

_BCRYPT_HASH = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsServerConfig:
    cert_file: FilePath = option(doc="The server's certificate and its chain, as PEM.")
    key_file: FilePath = option(doc="The certificate's private key, as PEM, not encrypted.")
    client_auth_type: ClientAuthType = option(
        "NoClientCert",
        doc="Whether clients show a certificate that an authority of client_ca_file signed.",
    )
    client_ca_file: FilePath | None = option(
        None, doc="Who may sign the clients' certificates, as PEM."
    )
    client_allowed_sans: tuple[str, ...] = option(
        (),
        doc="Subject alternative names of which a client's certificate must have one; by default "
        "any certificate will do.",
    )
    min_version: TlsVersion = option("TLS12", doc="The oldest protocol that is spoken.")
    max_version: TlsVersion = option("TLS13", doc="The newest protocol that is spoken.")
    cipher_suites: tuple[str, ...] = option(
        (), doc="Suites for TLS 1.2, by Go's names; by default OpenSSL's choice."
    )
    prefer_server_cipher_suites: bool = option(
        True, doc="Whether the server's order of suites decides, or the client's."
    )

    def __post_init__(self) -> None:
        verifies = self.client_auth_type != "NoClientCert"
        if verifies and self.client_ca_file is None:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs a client_ca_file")
        if self.client_ca_file is not None and not verifies:
            raise ValueError(
                "client_ca_file has no effect with client_auth_type NoClientCert; "
                "RequireAndVerifyClientCert demands certificates"
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError(
                "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert"
            )
        if self.min_version > self.max_version:
            raise ValueError(
                f"min_version {self.min_version} is above max_version {self.max_version}"
            )
        unknown = [name for name in self.cipher_suites if name not in CIPHER_SUITES]
        if unknown:
            raise ValueError(
                f"cipher_suites: {unknown[0]} is not one of {', '.join(CIPHER_SUITES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServerConfig:
    http2: bool = option(
        True, doc="Accepted because shared files set it; the monitor answers with HTTP/1.1."
    )
    headers: Mapping[str, str] = option(
        factory=dict,
        doc="Headers to send instead of the monitor's own; an empty text leaves the header out.",
    )

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            if name not in RESPONSE_HEADERS:
                raise ValueError(f"headers: {name} is not one of {', '.join(RESPONSE_HEADERS)}")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"headers: {name} must be one line of ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    tls_server_config: TlsServerConfig | None = option(
        None, doc="Answers over TLS with this certificate; without it, plain HTTP."
    )
    http_server_config: HttpServerConfig = option(
        HttpServerConfig(), doc="What is sent along with every answer."
    )
    basic_auth_users: Mapping[str, Secret] = option(
        factory=dict,
        doc="Who may see anything but the health endpoints: names and bcrypt hashes "
        "(htpasswd -nBC 10).",
    )

    def __post_init__(self) -> None:
        for name, value in self.basic_auth_users.items():
            if ":" in name:
                raise ValueError(f"basic_auth_users: {name!r} has a colon, so nobody can log in")
            if not _BCRYPT_HASH.fullmatch(value):
                raise ValueError(
                    f"basic_auth_users: {name} needs a bcrypt hash such as htpasswd -nBC 10 prints"
                )

    def for_strangers(self) -> "WebConfig":
        """Return this configuration without authentication: no users, no client certificates."""
        tls = self.tls_server_config
        if tls is not None:
            tls = replace(
                tls, client_auth_type="NoClientCert", client_ca_file=None, client_allowed_sans=()
            )
        return replace(self, tls_server_config=tls, basic_auth_users={})
