"""Access to NATS: servers, login, certificates, and its errors in words for operators."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from nats.errors import Error as NatsError
from nats.js.errors import NoStreamResponseError, NotFoundError

from monitor.errors import StartupError
from monitor.locations.subjects import STREAM
from monitor.units import Seconds

CONNECT_TIMEOUT = 5
"""In whole seconds, because NATS' client takes no others."""
ACK_TIMEOUT: Seconds = 5.0
"""How long JetStream may take to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAccess:
    """How to reach the servers and who we are; see ``locations.nats`` in the reference."""

    servers: tuple[str, ...]
    credentials: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def options(self) -> dict[str, Any]:
        """
        Return the client's options.

        Raises:
            StartupError: A file of certificates cannot be used.
        """
        found: dict[str, Any] = {
            "user_credentials": self.credentials,
            "user": self.user,
            "password": self.password,
            "token": self.token,
        }
        secured = any(one.startswith(("tls:", "wss:")) for one in self.servers)
        if secured or self.ca_file or self.cert_file:
            found["tls"] = self._context()
        return {"servers": list(self.servers), **{k: v for k, v in found.items() if v is not None}}

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file and self.key_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise StartupError(
                f"the certificates for NATS cannot be used: {error.strerror or error}"
            ) from error
        return context


def sentence_of(error: BaseException) -> str:
    """Return what is wrong, in words for the operator of the servers."""
    if isinstance(error, NoStreamResponseError | NotFoundError):
        return f"there is no stream {STREAM}; make it with: monitor locations setup"
    if isinstance(error, asyncio.TimeoutError | NatsError) and "timeout" in str(error).lower():
        return "the servers do not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
