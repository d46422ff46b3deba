"""
Sends to a peer and waits for its answers, step by step; for TCP, TLS and WebSocket.

Steps are the site's options; a ``Peer`` carries texts and bytes, lines over TCP and messages over
WebSocket.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Protocol

from monitor.clock import Deadline
from monitor.model import Bytes, Reason, Seconds, Site
from monitor.options import Parsed, Regex, compile_regex, option, show_duration
from monitor.probes.stream import Broken, Flooded, Paused

_LONGEST_QUOTE = 100
_LONGEST_CAPTURE = 256
_EVIDENCE: Bytes = 1024
_PATIENCE: Seconds = 0.5
"""How long the rest of a line may take: longer than TCP needs to repeat a lost segment."""
_SKIPPED: Bytes = 64 * 1024
"""How many bytes of skipped lines can still be matched together with later ones."""

# Final refusals, by the answer that a pattern expects: SMTP's and FTP's reply codes (RFC 5321, 4.2;
# RFC 959, 4.2), POP3's and Redis' indicators (RFC 1939, 3), IMAP's statuses (RFC 9051, 7.1). BYE
# refuses only a greeting, because it also comes before the good answer to LOGOUT
_START = r"^(?:\(\?[a-zA-Z]+\))?\^[(?:]*"
_REFUSALS = (
    (re.compile(_START + r"(?:[1-5]|\[[1-5])"), re.compile(rb"[45][0-9]{2}(?: |$)")),
    (re.compile(_START + r"(?:\\|\[)\+"), re.compile(rb"-[A-Z]+(?: |$)")),
    (re.compile(_START + r"\\\* +OK"), re.compile(rb"\* BYE ")),
    (re.compile(_START + r"(?P<tag>\w+) +OK"), re.compile(rb"(?P<tag>\w+) (?:NO|BAD)(?: |$)")),
)
# One more backslash escapes a reference: \\1 is the text \1
_REFERENCE = re.compile(rb"(\\?)\\(?:([0-9])|g<([A-Za-z_][A-Za-z0-9_]*)>)")


def _parse_bytes(value: Any) -> bytes:
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not data:
        raise ValueError(f'{value!r} is not bytes in hexadecimal; write "00 00 00 08", in quotes')
    return data


HexBytes = Annotated[
    bytes,
    Parsed(_parse_bytes, {"type": "string", "pattern": r"^\s*([0-9A-Fa-f]{2}\s*)+$"}),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do; exactly one of its fields is set."""

    send: str | None = option(
        None,
        doc=r"Text to send; \1 and \g<name> stand for what the groups of an earlier expect matched."
        " Over TCP a line: CRLF is added unless it ends in a line feed.",
    )
    send_bytes: HexBytes | None = option(
        None, doc='Bytes to send as they are, in hexadecimal: "00 00 00 08 04 d2 16 2f".'
    )
    expect: Regex | None = option(
        None,
        doc="What must be found in a line (over WebSocket: in a message); those before it are "
        "skipped. A prompt or bytes without a line end count once nothing follows for 0.5s. "
        "Named groups become labels.",
    )
    expect_next: Regex | None = option(
        None,
        doc="What must be found in the very next line (over WebSocket: message); nothing is "
        "skipped. Named groups become labels.",
    )
    expect_bytes: HexBytes | None = option(
        None,
        doc="What the next bytes (over WebSocket: the next message) must be, in hexadecimal.",
    )

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        if sum(getattr(self, name) not in (None, False) for name in names) != 1:
            raise ValueError(f"a step has exactly one of {', '.join(names)}")


def check_steps(steps: Sequence[Step]) -> None:
    """
    Accept steps that refer only to groups of an earlier ``expect``.

    Raises:
        ValueError: A reference leads nowhere; the message names it.
    """
    count = -1
    names: set[str] = set()
    for step in steps:
        pattern = step.expect if step.expect is not None else step.expect_next
        if pattern is not None:
            regex = compile_regex(pattern)
            count = regex.groups
            names.update(regex.groupindex)
        for escaped, number, name in _REFERENCE.findall((step.send or "").encode()):
            if not escaped and (int(number) > count if number else name.decode() not in names):
                reference = f"\\{number.decode()}" if number else f"\\g<{name.decode()}>"
                raise ValueError(
                    f"dialogue refers to {reference}, a group that no earlier expect has;"
                    f" a literal {reference} is written \\{reference}"
                )


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """
    The match of a pattern.

    Attributes:
        numbered: The whole match, and each group; None for groups that took no part.
        named: The named groups that took part.
    """

    numbered: tuple[bytes | None, ...]
    named: Mapping[str, bytes]


_NO_TEXT = re.compile("[\udc80-\udcff]")


def find(pattern: str, data: bytes | bytearray) -> PatternMatch | None:
    r"""
    Return the match of a pattern in a line or message; None if it does not match.

    Patterns match characters, like those of http: ``^caf. OK$`` matches ``café OK``. A byte that is
    not part of a character counts as U+FFFD, as in Go and so in blackbox_exporter. A pattern may
    also match such bytes directly: ``^\xff\xfd``. The match is returned with its original bytes.
    """
    text = data.decode(errors="surrogateescape")
    match = compile_regex(pattern).search(_NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text))
    if match is None:
        return _find_bytes(pattern, bytes(data)) if _NO_TEXT.search(text) else None

    def part(group: int) -> bytes | None:
        begin, end = match.span(group)
        return text[begin:end].encode(errors="surrogateescape") if begin >= 0 else None

    numbered = tuple(map(part, range(match.re.groups + 1)))
    named = {name: part(number) for name, number in match.re.groupindex.items()}
    return PatternMatch(numbered, {name: one for name, one in named.items() if one is not None})


def _find_bytes(pattern: str, data: bytes) -> PatternMatch | None:
    match = compile_regex(pattern, binary=True).search(data)
    if match is None:
        return None
    named = {name.decode(): one for name, one in match.groupdict().items() if one is not None}
    return PatternMatch((match[0], *match.groups()), named)


class Peer(Protocol):
    """The other side; receiving raises TimeoutError, EOFError and Flooded, as in Connection."""

    @property
    def peer(self) -> str:
        """Its address, for messages."""

    def send_text(self, text: bytes) -> None: ...

    def send_bytes(self, data: bytes) -> None: ...

    def receive_text(self, *, patience: Seconds = ...) -> bytes:
        """Return the next line or message; see Connection.receive_text()."""

    def receive_bytes(self, wanted: bytes, /) -> bytes:
        """Return what the peer sends when these bytes are expected."""

    def unread(self) -> bytes:
        """Return the part of an incomplete text that has arrived."""


class _Refusal(Exception):  # noqa: N818  never leaves this file
    """The expected answer will not come."""


class Dialogue:
    """
    One check's steps and what they matched; lives in one thread.

    Attributes:
        bytes_differ: Whether a step did not get the bytes that it expected.
    """

    def __init__(self, peer: Peer, site: Site, deadline: Deadline) -> None:
        self._peer = peer
        self._site = site
        self._deadline = deadline
        self._numbered: tuple[bytes | None, ...] = ()
        self._named: dict[str, bytes] = {}
        self._unanswered = 0  # steps that sent something for which no answer was expected yet
        self.bytes_differ = False

    @property
    def captures(self) -> tuple[tuple[str, str], ...]:
        """Name and text of the named groups that matched so far."""
        return tuple((name, self._shown(data)) for name, data in self._named.items())

    def _shown(self, data: bytes) -> str:
        # Masked before it is truncated: half a secret would not be recognised
        return self._site.redact(data.decode(errors="replace"))[:_LONGEST_CAPTURE]

    def take(self, step: Step) -> None:
        """
        Carry out a step.

        Raises:
            Broken: It failed.
        """
        if step.send is not None:
            self._send(self._peer.send_text, self._filled(step.send))
        elif step.send_bytes is not None:
            self._send(self._peer.send_bytes, step.send_bytes)
        elif step.expect is not None:
            self._expect(step.expect)
        elif step.expect_next is not None:
            self._expect(step.expect_next, skip=False)
        elif step.expect_bytes is not None:
            self._expect_bytes(step.expect_bytes)
        sends = step.send is not None or step.send_bytes is not None
        self._unanswered = self._unanswered + 1 if sends else max(0, self._unanswered - 1)

    def _filled(self, text: str) -> bytes:
        def value(reference: re.Match[bytes]) -> bytes:
            escaped, number, name = reference.groups()
            if escaped:
                return reference[0][1:]
            if number:
                return self._numbered[int(number)] or b""
            return self._named.get(name.decode(), b"")

        return _REFERENCE.sub(value, text.encode())

    def _send(self, send: Callable[[bytes], None], data: bytes) -> None:
        try:
            send(data)
        except TimeoutError as error:
            limit = show_duration(self._deadline.timeout)
            message = f"{self._peer.peer} did not take what was sent to it within {limit}"
            raise Broken(Reason.READ_TIMEOUT, message) from error

    def _expect(self, pattern: str, *, skip: bool = True) -> None:
        skipped, last, found = bytearray(), b"", None
        while found is None:
            try:
                text = self._peer.receive_text(patience=_PATIENCE)
            except Paused as pause:
                found = _search(pattern, pause.text) or find(pattern, skipped + pause.text)
                if found:
                    pause.take()
                continue
            except (TimeoutError, EOFError, Flooded) as end:
                found = None if isinstance(end, Flooded) else find(pattern, bytes(skipped))
                if found:
                    break
                got = self._peer.unread() or last
                raise self._missing(f'"{pattern}"', got, end) from end
            if found := _search(pattern, text):
                break
            if not skip:
                raise self._missing(f'"{pattern}"', text)
            # With several requests at once, a refusal may answer one whose answer nothing expects
            if self._unanswered <= 1 and _is_refusal(pattern, text):
                raise self._missing(f'"{pattern}"', text, _Refusal())
            skipped += text + b"\n"
            del skipped[:-_SKIPPED]
            last = text or last
        self._numbered = found.numbered
        self._named.update(found.named)

    def _expect_bytes(self, wanted: bytes) -> None:
        expected = f"bytes {wanted.hex(' ')}"
        self.bytes_differ = True  # until they have come
        try:
            came = self._peer.receive_bytes(wanted)
        except (TimeoutError, EOFError, Flooded) as end:
            raise self._missing(expected, self._peer.unread(), end) from end
        if came != wanted:
            raise self._missing(expected, came)
        self.bytes_differ = False

    def _missing(self, expected: str, got: bytes, end: Exception | None = None) -> Broken:
        if isinstance(end, Flooded):
            return Broken(Reason.TCP_DIALOGUE, f"expected {expected}, got {end}")
        if got:
            message = f"expected {expected}, got {quote(got, self._site)}"
            match end:
                case _Refusal():
                    message += ", which is a refusal"
                case EOFError():
                    message += ", then the connection was closed"
                case TimeoutError():
                    limit = show_duration(self._deadline.timeout)
                    message += f", and nothing that matches within {limit}"
            return Broken(Reason.TCP_DIALOGUE, message)
        if isinstance(end, TimeoutError):
            limit = show_duration(self._deadline.timeout)
            message = f"no answer from {self._peer.peer} within {limit} (expected {expected})"
            return Broken(Reason.READ_TIMEOUT, message)
        why = f": {end}" if end and end.args else ""
        message = f"{self._peer.peer} closed the connection before {expected} came{why}"
        return Broken(Reason.CONNECTION_LOST, message)


def _search(pattern: str, text: bytes) -> PatternMatch | None:
    """Return the match of a pattern in a text, or in a line that ends in a lone carriage return."""
    found = find(pattern, text)
    if found is None and b"\r" in text:
        found = next(filter(None, (find(pattern, line) for line in text.split(b"\r"))), None)
    return found


def _is_refusal(pattern: str, line: bytes) -> bool:
    """Return whether a line refuses the answer that a pattern expects."""
    for asks, refuses in _REFUSALS:
        asked, refused = asks.match(pattern), refuses.match(line)
        if asked and refused:
            tags = asked.groupdict().get("tag"), refused.groupdict().get("tag")
            if tags[0] is None or tags[0].encode() == tags[1]:
                return True
    return False


def quote(data: bytes, site: Site) -> str:
    """Return a peer's words for a message: without secrets, printable, not too long."""
    # Masked before it is cut or escaped: a changed secret would not be recognised
    text = site.redact(data.decode(errors="backslashreplace"))
    shown = text[:_LONGEST_QUOTE] + ("…" if len(text) > _LONGEST_QUOTE else "")
    return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown) + '"'


def evidence(received: bytes, site: Site) -> bytes:
    """Return the last KiB of a peer's words, without secrets."""
    text = site.redact(received.decode(errors="surrogateescape"))
    return text.encode(errors="surrogateescape")[-_EVIDENCE:]
