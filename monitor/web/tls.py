"""The server's side of TLS, from the web configuration; its files may change at any time."""

import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor.errors import StartupError
from monitor.logs import fields
from monitor.web.web_config import CIPHER_SUITES, TlsServerConfig

log = logging.getLogger(__name__)

_VERSIONS: Mapping[str, ssl.TLSVersion] = {
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH: Mapping[str, ssl.VerifyMode] = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class ServerTls:
    """
    The TLS context of every new connection.

    A renewed certificate needs no reload: its files are checked for each connection.

    Raises:
        StartupError: The files do not form a working certificate.
    """

    def __init__(self, config: TlsServerConfig) -> None:
        self._config = config
        self._files = _fingerprint(config)
        self._context = _build(config)

    def context(self) -> ssl.SSLContext:
        """Return the context for one connection, made from the current files."""
        files = _fingerprint(self._config)
        if files != self._files:
            # Set even if loading fails, so that broken files are reported only once
            self._files = files
            try:
                self._context = _build(self._config)
            except StartupError as error:
                log.warning("web_certificate_kept", extra=fields(detail=str(error)))
            else:
                log.info("web_certificate_renewed", extra=fields(file=self._config.cert_file))
        return self._context

    def admits(self, peer: Mapping[str, Any] | None) -> bool:
        """Return whether a client with this verified certificate (as from ssl) may come in."""
        allowed = self._config.client_allowed_sans
        names = (peer or {}).get("subjectAltName", ())
        return not allowed or any(value in allowed for _, value in names)


def _build(config: TlsServerConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    context.verify_mode = _CLIENT_AUTH[config.client_auth_type]
    context.set_alpn_protocols(["http/1.1"])
    if config.cipher_suites:
        context.set_ciphers(":".join(CIPHER_SUITES[name] for name in config.cipher_suites))
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # Without a password here, OpenSSL would ask for an encrypted key's on the terminal
        context.load_cert_chain(config.cert_file, config.key_file, password="")
    except OSError as error:
        raise StartupError(
            f"cert_file {config.cert_file} and key_file {config.key_file} are not a certificate "
            f"and its unencrypted key: {_reason(error)}"
        ) from error
    if config.client_ca_file is not None:
        try:
            context.load_verify_locations(config.client_ca_file)
        except OSError as error:
            raise StartupError(
                f"client_ca_file {config.client_ca_file} has no certificates: {_reason(error)}"
            ) from error
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        reason: str | None = error.reason  # OpenSSL's: KEY_VALUES_MISMATCH
        return reason.lower().replace("_", " ") if reason else "not PEM, or an encrypted key"
    return error.strerror or str(error)


def _fingerprint(config: TlsServerConfig) -> tuple[object, ...]:
    paths = (config.cert_file, config.key_file, config.client_ca_file)
    return tuple(_stamp(path) for path in paths if path is not None)


def _stamp(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    # A renewal replaces the file or the symlink to it, so the inode changes even within a clock
    # tick; ctime changes when a file is overwritten in place with its old time, as by cp --preserve
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
