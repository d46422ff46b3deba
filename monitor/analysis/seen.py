"""
The view of one observation for expectations; decodes only what they need.

Runs in the worker processes.
"""

import json
from functools import cached_property
from typing import Any, TypeVar, assert_never
from urllib.parse import urlsplit

from monitor.analysis.body import decode_json, decode_text
from monitor.analysis.certificate import decode_chain
from monitor.analysis.text import plain, quote
from monitor.analysis.trust import trusted_chain
from monitor.grammar import header_text
from monitor.model import (
    Answer,
    Certificate,
    DnsAnswer,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    Job,
    Observation,
    PushAnswer,
    TcpAnswer,
    Timestamp,
    TlsSession,
    WebSocketAnswer,
)
from monitor.secrecy import redact

_Answer = TypeVar("_Answer", bound=Answer)


class Unseen(Exception):  # noqa: N818  not a fault: what an expectation judges is missing
    """
    What an expectation judges is missing; the expectation fails closed.

    Its text is a whole message: ``body is not JSON: …``.
    """


class Seen:
    """
    One observation while it is being judged.

    Attributes:
        url: The site's URL.
        site: Its name, for the log.
    """

    def __init__(self, job: Job, chain: tuple[Certificate, ...] | None = None) -> None:
        """
        Begin to judge an observation.

        Args:
            chain: The final connection's certificates if they are known; None to decode them.
        """
        self._known_chain = chain
        self.observation: Observation = job.observation
        self.url = job.url
        self.site = job.site
        self._secrets = job.secrets

    def answer(self, kind: type[_Answer], name: str) -> _Answer:
        """
        Return the answer if it is of this kind.

        Args:
            name: Its name for the message if it is missing: ``HTTP answer``.

        Raises:
            Unseen: There is no answer, or it is of another protocol.
        """
        answer = self.observation.answer
        if not isinstance(answer, kind):
            raise Unseen(f"there is no {name} to look at")
        return answer

    @property
    def http(self) -> HttpAnswer:
        """The HTTP answer; raises Unseen without one."""
        return self.answer(HttpAnswer, "HTTP answer")

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the answer's header lines, names in lower case; raises Unseen without any."""
        answer = self.observation.answer
        if not isinstance(answer, HttpAnswer | WebSocketAnswer):
            raise Unseen("there is no HTTP answer to look at")
        return tuple((name.lower(), header_text(value)) for name, value in answer.headers)

    @property
    def status(self) -> int | str:
        """The HTTP status, or that of gRPC's health service; raises Unseen without one."""
        match self.observation.answer:
            case HttpAnswer(status=status) | WebSocketAnswer(status=status):
                return status
            case GrpcAnswer(serving_status=serving, status_code=code):
                if serving is None:
                    raise Unseen(f"the health service gave no status (gRPC code {code})")
                return serving
            case TcpAnswer() | DnsAnswer() | IcmpAnswer() | PushAnswer() | None:
                raise Unseen("there is no status to look at")
            case answer:
                assert_never(answer)

    @cached_property
    def text(self) -> str:
        """The body as text; raises Unseen without an HTTP answer."""
        answer = self.http
        return decode_text(answer.body, next(iter(answer.header("content-type")), ""))

    @cached_property
    def json(self) -> Any:
        """The body as JSON; raises Unseen if it is not JSON, or was truncated."""
        answer = self.http
        if answer.truncated:
            raise Unseen(f"body was cut after {len(answer.body)} bytes, so it is not JSON")
        try:
            return decode_json(answer.body)
        except ValueError as error:
            excerpt = f": {self.quote(self.text)}" if answer.body else ""
            raise Unseen(f"body {error}{excerpt}") from error

    @property
    def tls(self) -> TlsSession:
        """The final connection's handshake; raises Unseen on a plain connection."""
        tls = self.observation.tls
        if tls is None:
            raise Unseen("the connection was not over TLS")
        return tls

    @cached_property
    def chain(self) -> tuple[Certificate, ...]:
        """The final connection's certificates, leaf first; empty without any."""
        if self._known_chain is not None:
            return self._known_chain
        tls = self.observation.tls
        return decode_chain(tls.chain) if tls else ()

    @property
    def client(self) -> Certificate | None:
        """Our own certificate for the connection; None if there is none that can be read."""
        tls = self.observation.tls
        own = decode_chain(tls.client) if tls else ()
        return own[0] if own else None

    @property
    def validity(self) -> tuple[Timestamp, Timestamp] | None:
        """The validity, from and to, of the certificate that limits the whole chain's."""
        tls = self.observation.tls
        if tls is None or not self.chain:
            return None
        chain = trusted_chain(tls.chain, tls.authorities) if tls.authorities else ()
        if not chain:
            # A certificate that had expired by then cannot be in the trusted chain
            now = self.observation.time
            chain = tuple(one for one in self.chain if not tls.verified or one.not_after >= now)
        first = min(chain, key=lambda one: one.not_after, default=None)
        return (first.not_before, first.not_after) if first else None

    @cached_property
    def hop_chains(self) -> tuple[tuple[Certificate, ...], ...]:
        """The certificates of each redirect, in order, each chain leaf first."""
        answer = self.observation.answer
        if not isinstance(answer, HttpAnswer):
            return ()
        return tuple(decode_chain(hop.tls.chain) if hop.tls else () for hop in answer.redirects)

    @property
    def leaf(self) -> Certificate:
        """The server's certificate; raises Unseen without one."""
        if not self.chain:
            raise Unseen(
                "the server's certificate cannot be read"
                if self.tls.chain
                else "there is no certificate"
            )
        return self.chain[0]

    @property
    def final_url(self) -> str:
        """The URL of the answer, after all redirects."""
        answer = self.observation.answer
        return answer.url if isinstance(answer, HttpAnswer) and answer.url else self.url

    @property
    def host(self) -> str:
        """The name that the final connection's certificate must cover; empty if unknown."""
        tls = self.observation.tls
        if tls and tls.server_name:
            return tls.server_name
        try:
            return urlsplit(self.final_url).hostname or ""
        except ValueError:
            return ""

    def quote(self, value: Any) -> str:
        """Return a value for a message, as JSON: cut, printable, without the site's secrets."""
        if isinstance(value, str):
            return quote(self.redact(value))
        return self.plain(json.dumps(value, ensure_ascii=False, default=str))

    def plain(self, text: str, longest: int = 100) -> str:
        """Return a text for a message as quote() does, but without quotes."""
        return plain(self.redact(text), longest)

    def redact(self, text: str) -> str:
        """Return a text without the site's secrets."""
        return redact(text, self._secrets)
