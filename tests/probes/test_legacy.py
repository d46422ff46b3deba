"""The purpose of tls.legacy: a server older than RFC 5746, which renegotiates insecurely."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tlslite.constants import CipherSuite, ExtensionType
from tlslite.errors import TLSError
from tlslite.handshakesettings import HandshakeSettings
from tlslite.messages import ClientHello
from tlslite.tlsconnection import TLSConnection
from tlslite.utils.keyfactory import parsePEMKey
from tlslite.x509certchain import X509CertChain

from monitor.model import Reason
from monitor.outbound import TlsOptions
from tests.narrowing import known
from tests.probes.certificates import issue
from tests.probes.servers import Connection
from tests.probes.talk import LINE, observe, talk

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Old(TLSConnection):  # type: ignore[misc]  # the library ships no types
    """A server's end of TLS 1.2 without the extension and the suite of RFC 5746."""

    def _getMsg(self, *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: N802  the library's name
        for message in super()._getMsg(*args, **kwargs):
            if isinstance(message, ClientHello):
                message.extensions = [
                    one
                    for one in message.extensions
                    if one.extType != ExtensionType.renegotiation_info
                ]
                message.cipher_suites = [
                    one
                    for one in message.cipher_suites
                    if one != CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV
                ]
            yield message


@pytest.fixture
def appliance(serve):
    """Return a function that starts such a server; it answers any request with a page."""
    identity = issue("appliance", "localhost", by=(root := issue("Root", authority=True)))
    chain = X509CertChain()
    chain.parsePemList(identity.pem)
    key = parsePEMKey(identity.private().decode(), private=True)
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 3)

    def shake_hands(connection: Connection) -> None:
        tls = _Old(connection.sock)
        with contextlib.suppress(TLSError):
            tls.handshakeServer(certChain=chain, privateKey=key, settings=settings)
            if tls.recv(4096):
                tls.sendall(PAGE)
            tls.close()

    return root, lambda *opening: serve(talk(*opening, shake_hands), host="0.0.0.0")


DOORS = {
    "https": ((), {}),
    "tls": ((), {}),
    "starttls": ((b"+OK\r\n", LINE, b"+OK\r\n"), {"starttls": "pop3"}),
}


@pytest.mark.parametrize("door", DOORS)
def test_insecure_renegotiation_is_refused_and_let_pass(handles, appliance, tmp_path, door):
    """The refusal names tls.legacy; with it the site is up, verified, and marked as legacy."""
    root, start = appliance
    opening, keys = DOORS[door]
    scheme = "https" if door == "https" else "tls"
    url = f"{scheme}://localhost:{start(*opening).port}"
    authority = SimpleNamespace(file=root.file(tmp_path / "ca"))
    for more in ({}, {"min_version": "1.0"}):
        seen = observe(handles, authority, url, tls={**keys, **more})
        assert known(seen.failure).reason is Reason.TLS_PROTOCOL
        assert (
            "unsafe legacy renegotiation disabled; tls.legacy: true" in known(seen.failure).message
        )
    seen = observe(handles, authority, url, tls={**keys, "legacy": True})
    assert seen.failure is None
    session = known(seen.tls)
    assert (session.verified, session.legacy, session.version) == (True, True, "TLS 1.2")


def test_insecure_renegotiation_in_checks_that_repeat(watch, appliance, tmp_path):
    """The option also applies to silent transfers, which take in an answer without Python."""
    root, start = appliance
    url = f"https://localhost:{start().port}/"
    check = watch(url, tls=TlsOptions(ca_file=root.file(tmp_path / "ca"), legacy=True))
    for _ in range(3):
        seen = check()
        assert (seen.failure, seen.answer.body) == (None, b"ok")
