"""Reads what libcurl reports only in its verbose text."""

from functools import lru_cache

import pycurl

from monitor.probes.ciphers import iana_name

_QUIC_NOT_SENT = b"sendmsg() returned -1 (errno "
AGREED = b"SSL connection using "
"""The beginning of the line that reports version and cipher of a handshake."""


class Told:
    """
    What libcurl has reported about a transfer.

    Attributes:
        tried: The address that it tried last, as ``HOST:PORT``; empty if there was none.
        shortage: Why a socket could not be opened, in the system's words.
        asked_for_certificate: Whether the server asked for one of our certificates.
        tls_words: The TLS error of a failure over QUIC; libcurl's own error says less.
        quic_errno: Why a datagram could not be sent; 0 if each was sent.
        suite: Version and cipher of the handshake with the site, with their usual names.
        is_at_proxy: Whether the last successful handshake was with a proxy.
        proxy_is_nameless: Whether a proxy's certificate was accepted only for its common name.
        has_tunnel: Whether a proxy has said in full that it is connected to the site.
    """

    # The defaults are on the class, because most transfers change none of them
    tried = ""
    shortage = ""
    asked_for_certificate = False
    tls_words = ""
    quic_errno = 0
    suite: tuple[str, str | None] | None = None
    is_at_proxy = False
    proxy_is_nameless = False
    has_tunnel = False

    def note(self, kind: int, line: bytes) -> None:
        """Take a line of any kind, as passed to CURLOPT_DEBUGFUNCTION."""
        if kind == pycurl.INFOTYPE_TEXT:
            self.take(line)

    def take(self, line: bytes) -> None:
        """Take a line of libcurl's own text, with its line end."""
        if line.startswith(b"  Trying "):
            # A link-local address is followed by its zone: "[fe80::1]:80 scope_id=2..."
            self.tried = line[9:-4].decode("ascii", "replace").partition(" ")[0]
        elif line.startswith(b"failed to open socket: "):
            self.shortage = line[23:-1].decode("ascii", "replace")
        elif line.startswith(b"TLS") and b"(IN), TLS handshake, Request CERT" in line:
            self.asked_for_certificate = True
        elif line.startswith(b"SSL: "):
            self.tls_words = line[5:-1].decode("ascii", "replace")
        elif line.startswith(_QUIC_NOT_SENT):
            self.quic_errno = int(line[len(_QUIC_NOT_SENT) :].partition(b")")[0])
        elif line.startswith(AGREED):
            self.suite = agreed(line.rstrip())
        elif line == b"Proxy certificate:\n":
            self.is_at_proxy, self.suite, self.asked_for_certificate = True, None, False
        elif line.startswith((b"CONNECT tunnel established", b"Opened SOCKS connection")):
            self.has_tunnel = True
        elif line == b"Server certificate:\n":
            self.is_at_proxy = False
        elif self.is_at_proxy and line.startswith(b" common name: "):
            self.proxy_is_nameless = True


@lru_cache(maxsize=64)
def agreed(line: bytes) -> tuple[str, str | None]:
    """Return the version and IANA's name of the cipher in a line that begins with AGREED."""
    words = line[len(AGREED) :].decode("ascii", "replace").split(" / ")
    name, cipher = words[0], words[1].strip() if len(words) > 1 else ""
    # OpenSSL writes TLSv1.3, and TLSv1 for 1.0
    number = name.removeprefix("TLSv")
    return f"TLS {number if '.' in number else number + '.0'}", iana_name(cipher) or None
