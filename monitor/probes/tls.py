"""
The TLS probe: handshake and certificate on any port, at once or after STARTTLS.

A verified handshake means up. In TLS 1.3 a server checks our client certificate only afterwards, so
only a dialogue shows whether it accepts the certificate.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from monitor.clock import Deadline
from monitor.model import Bytes, Observation, Reason, Site
from monitor.options import compile_regex, option, show_duration
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.dialogue import Dialogue, Step, check_steps, quote
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.stream import Broken, Connection, Flooded
from monitor.probes.tcp import converse, split_url


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProbeOptions(TlsOptions):
    starttls: Literal["smtp", "imap", "pop3", "ftp", "xmpp", "postgres", "ldap"] | None = option(
        None, doc="The protocol by which TLS is asked for; without it the handshake comes at once."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsDialogueOptions:
    dialogue: tuple[Step, ...] = option(
        (), doc="What is sent and expected after the handshake, one step after the other."
    )

    def __post_init__(self) -> None:
        check_steps(self.dialogue)


class TlsProbe:
    """Makes a handshake and goes through the site's dialogue; one object for all threads."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles or Handles()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Connect, ask for TLS if the protocol requires it, and talk.

        Raises:
            ProbeError: The monitor's system is at fault.
        """
        options = site.section(TlsProbeOptions)
        steps = site.section(TlsDialogueOptions).dialogue
        protocol = options.starttls
        scheme = "http" if protocol else "https"
        route = Route(scheme, *split_url(site.url), options, site.section(NetworkOptions))

        def talk(connection: Connection, dialogue: Dialogue) -> None:
            if protocol:
                _ask_for_tls(connection, protocol, route.name, site, deadline)
                connection.upgrade()
            for step in steps:
                dialogue.take(step)

        return converse(site, deadline, self._handles, route, talk if protocol or steps else None)


# ---------------------------------------------------------------- how protocols ask for TLS


class _Refused(Exception):  # noqa: N818  never leaves this file
    """The peer refuses TLS, or does not speak the protocol; carries its words."""

    def __init__(self, words: bytes) -> None:
        super().__init__(words)
        self.words = words


def _ask_for_tls(
    connection: Connection, protocol: str, name: str, site: Site, deadline: Deadline
) -> None:
    peer = connection.peer
    try:
        _OPENINGS[protocol](connection, name)
    except _Refused as refused:
        words = quote(refused.words, site)
    except Flooded as flood:
        words = str(flood)
    except (TimeoutError, EOFError) as end:
        if connection.unread():
            words = quote(connection.unread(), site)
        elif isinstance(end, EOFError):
            message = f"{peer} closed the connection when it was asked for TLS ({protocol})"
            raise Broken(Reason.CONNECTION_LOST, message) from end
        else:
            limit = show_duration(deadline.timeout)
            message = f"no answer from {peer} within {limit} (asked for TLS by {protocol})"
            raise Broken(Reason.READ_TIMEOUT, message) from end
    else:
        return
    raise Broken(Reason.TLS_PROTOCOL, f"{peer} did not agree to TLS ({protocol}): it said {words}")


_Opening: TypeAlias = Callable[[Connection, str], None]
"""Takes the connection and the name that the certificate must cover; makes the peer expect TLS."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """
    The opening of a line-based protocol.

    Attributes:
        turns: What is sent (nothing before a greeting), which line ends the reply to it, and what
            that line must be before the next turn follows.
    """

    turns: tuple[tuple[str, str, str], ...]

    def __call__(self, connection: Connection, _name: str) -> None:
        for send, end, good in self.turns:
            if send:
                connection.send_text(send.format(own=_literal(connection.local_address)).encode())
            line = _reply(connection, end)
            if not compile_regex(good, binary=True).search(line):
                raise _Refused(line)


def _reply(connection: Connection, end: str) -> bytes:
    ends = compile_regex(end, binary=True)
    words = b""
    try:
        while not ends.search(line := connection.receive_text()):
            words = line or words
    except (TimeoutError, EOFError) as error:
        if words:
            raise _Refused(words) from error
        raise
    return line


def _literal(address: str) -> str:
    """Return an address as SMTP wants it instead of a name (RFC 5321, 4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _xmpp(connection: Connection, name: str) -> None:
    """RFC 6120, 5.4; a stream is read tag by tag."""
    head = (
        f"<?xml version='1.0'?><stream:stream to='{html.escape(name)}' version='1.0'"
        " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    connection.send_bytes(head.encode())
    offered = False
    while b"</stream:features" not in (tag := _tag(connection)):
        offered = offered or b"<starttls" in tag
    if not offered:
        raise _Refused(b"no starttls among its features")
    connection.send_bytes(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    tag = _tag(connection)
    if b"<proceed" not in tag:
        raise _Refused(tag)
    if not tag.endswith(b"/>"):
        connection.receive_until(b">")


def _tag(connection: Connection) -> bytes:
    tag = connection.receive_until(b">")
    if b"<stream:error" in tag:
        raise _Refused(tag + connection.receive_until(b">"))
    if b"</stream:stream" in tag or b"<stream:features/" in tag:
        raise _Refused(tag)
    return tag


def _postgres(connection: Connection, _name: str) -> None:
    """PostgreSQL's SSLRequest, which one byte answers."""
    connection.send_bytes(bytes.fromhex("00000008 04d2162f"))
    answer = connection.receive(1)
    if answer != b"S":
        raise _Refused(answer)


# LDAPMessage 1 with the extended request StartTLS, 1.3.6.1.4.1.1466.20037 (RFC 4511, 4.14)
_LDAP_REQUEST = bytes.fromhex("301d 020101 7718 8016") + b"1.3.6.1.4.1.1466.20037"
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)"
_LDAP_RESULT = re.compile(rb"\x02\x01\x01\x78" + _LENGTH + rb"\x0a\x01(.)", re.DOTALL)
_TEXT = re.compile(rb"[ -~]{4,}")
_SEQUENCE = 0x30
_LONG_FORM = 0x80
_LONGEST_LENGTH = 4
_LARGEST_MESSAGE: Bytes = 64 * 1024


def _ldap(connection: Connection, _name: str) -> None:
    connection.send_bytes(_LDAP_REQUEST)
    head = connection.receive(2)
    tag, size = head
    if tag != _SEQUENCE or size > _LONG_FORM + _LONGEST_LENGTH:
        raise _Refused(head + connection.unread())
    if size >= _LONG_FORM:
        size = int.from_bytes(connection.receive(size - _LONG_FORM), "big")
    if size > _LARGEST_MESSAGE:
        raise _Refused(head + connection.unread())
    message = connection.receive(size)
    result = _LDAP_RESULT.match(message)
    if result is None:
        raise _Refused(message)
    if result[1] != b"\0":
        words = _TEXT.findall(message[result.end() :])
        raise _Refused(b" ".join([b"result %d" % ord(result[1]), *words]))


_OPENINGS: Mapping[str, _Opening] = {
    "smtp": _Lines(
        (
            ("", r"^\d{3}( |$)", r"^220"),
            ("EHLO {own}", r"^\d{3}( |$)", r"^250"),
            ("STARTTLS", r"^\d{3}( |$)", r"^220"),
        )
    ),
    "imap": _Lines(
        (
            ("", r"^\* (OK|PREAUTH|BYE)", r"^\* OK"),
            ("a1 STARTTLS", r"^(a1|\* BYE) ", r"^a1 OK"),
        )
    ),
    "pop3": _Lines(
        (
            ("", r"^(\+OK|-ERR)", r"^\+OK"),
            ("STLS", r"^(\+OK|-ERR)", r"^\+OK"),
        )
    ),
    "ftp": _Lines(
        (
            ("", r"^\d{3}( |$)", r"^220"),
            ("AUTH TLS", r"^\d{3}( |$)", r"^234"),
        )
    ),
    "xmpp": _xmpp,
    "postgres": _postgres,
    "ldap": _ldap,
}
