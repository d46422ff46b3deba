"""The HTTP probe's answers to Digest challenges, checked by a server that computes them itself."""

import hashlib
import re

import pytest

from monitor.model import Reason
from monitor.outbound import Credentials
from monitor.probes.http import HttpOptions
from tests.probes.servers import Connection, answer, read_request

USER, PASSWORD = "jörg", 'p"a\\ss'
PLAIN = ("user", "pass")
HASHES = {
    "MD5": "md5",
    "SHA": "sha1",
    "SHA-256": "sha256",
    "SHA-512": "sha512",
    "SHA-512-256": "sha512_256",
}


def fields_of(request: bytes) -> dict[str, bytes]:
    """Return the parameters of a request's Authorization, as RFC 7616 writes them."""
    found = re.search(rb"\r\nAuthorization: Digest ([^\r]*)", request)
    if not found:
        return {}
    pairs = re.findall(rb'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', found[1])
    return {
        name.decode(): re.sub(rb"\\(.)", rb"\1", quoted) or bare for name, quoted, bare in pairs
    }


def is_right(request: bytes, realm: bytes, username: str, password: str) -> bool:
    """Return whether a request's credentials prove the password (RFC 7616, 3.4)."""
    given = fields_of(request)
    method, uri, _ = request.split(b" ", 2)
    name = given.get("algorithm", b"MD5").decode()

    def h(*parts: bytes) -> bytes:
        whole = b":".join(parts)
        return hashlib.new(HASHES[name.removesuffix("-sess")], whole).hexdigest().encode()

    user = username.encode()
    first = h(user, realm, password.encode())
    if name.endswith("-sess"):
        first = h(first, given["nonce"], given["cnonce"])
    second = [method, uri]
    if given.get("qop") == b"auth-int":
        second.append(h(request.partition(b"\r\n\r\n")[2]))
    middle = [given[key] for key in ("nonce", "nc", "cnonce", "qop") if key in given]
    named = h(user, realm) if given.get("userhash") == b"true" else user
    return (
        given.get("username") == named
        and given["realm"] == realm
        and given["uri"] == uri
        and given["response"] == h(first, *middle, h(*second))
    )


def asking(lines, realm: bytes = b"cam", username: str = PLAIN[0], password: str = PLAIN[1]):
    """Return a script that sends these challenges until a request answers one correctly."""
    head = b"".join(b"WWW-Authenticate: %s\r\n" % line for line in lines)
    refusal = b"HTTP/1.1 401 Unauthorized\r\n%sContent-Length: 0\r\n\r\n" % head

    def step(connection: Connection) -> None:
        read_request(connection)
        request = connection.server.requests[-1]
        right = b"\r\nAuthorization: " in request and is_right(request, realm, username, password)
        connection.sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if right else refusal
        )

    return [step]


def login(username: str = PLAIN[0], password: str = PLAIN[1], **others) -> HttpOptions:
    return HttpOptions(digest_auth=Credentials(username=username, password=password), **others)


CHALLENGES = {
    "of the first days": [b'Digest realm="cam", nonce="n"'],
    "MD5": [b'Digest realm="cam", nonce="n", qop="auth", algorithm=MD5'],
    "MD5-sess": [b'Digest realm="cam", nonce="n", qop="auth", algorithm=MD5-sess'],
    "SHA-256-sess": [b'Digest realm="cam", nonce="n", qop="auth", algorithm=SHA-256-sess'],
    "SHA-512-256": [b'Digest realm="cam", nonce="n", qop="auth", algorithm=SHA-512-256'],
    "a quoted algorithm": [b'Digest realm="cam", nonce="n", qop="auth", algorithm="SHA-256"'],
    "qop as a list": [b'Digest realm="cam", nonce="n", qop="auth-int, auth"'],
    "qop for the body": [b'Digest realm="cam", nonce="n", qop="auth-int", algorithm=SHA-256'],
    "a hashed user": [b'Digest realm="cam", nonce="n", qop="auth", userhash=true'],
    "without blanks": [b'digest realm="cam",nonce="n",qop="auth",opaque=""'],
    "the first of two lines": [
        b'Digest realm="cam", nonce="a", qop="auth", algorithm=SHA-256',
        b'Digest realm="old", nonce="b", qop="auth", algorithm=MD5',
    ],
    "the second, the first unknown": [
        b'Digest realm="new", nonce="a", qop="auth", algorithm=SHA3-256',
        b'Digest realm="cam", nonce="b", qop="auth", algorithm=MD5',
    ],
    "two in one line, behind others": [
        (
            b'Negotiate, Basic realm="a, Digest b", Bearer, '
            b'Digest realm="cam", nonce="a", qop="auth", algorithm=SHA-512-256, '
            b'Digest realm="old", nonce="b", qop="auth", algorithm=MD5'
        )
    ],
    "before a token and Basic": [
        b'Digest realm="cam", nonce="a", qop="auth", NTLM TlRMTVNTUAACAAAA==, Basic realm="x"'
    ],
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_a_challenge_is_answered_as_the_server_works_it_out(serve, check, name):
    """Of several challenges the first known one is answered, whatever else is on its line."""
    server = serve(asking(CHALLENGES[name]))
    seen = check(server.url("/a%20b?x=1"), http=login(method="POST", body="on"))
    assert (seen.failure, seen.answer.status) == (None, 200)
    assert len(server.requests) == 2


def test_names_may_hold_any_character(serve, check):
    """Quotes and backslashes are escaped, names are UTF-8, and a realm returns byte for byte."""
    realm = 'die "Küche"'.encode("latin-1")
    line = b'Digest realm="die \\"K\xfcche\\"", nonce="a\\\\b", qop="auth", charset=UTF-8'
    server = serve(asking([line], realm=realm, username=USER, password=PASSWORD))
    seen = check(server.url(), http=login(USER, PASSWORD))
    assert (seen.failure, seen.answer.status) == (None, 200)


def test_a_wrong_password_is_asked_for_once(serve, check):
    """A second 401 is the answer, no matter how often the server challenges."""
    server = serve(asking([b'Digest realm="cam", nonce="n", qop="auth"']))
    seen = check(server.url(), http=login(password="wrong"))
    assert (seen.failure, seen.answer.status) == (None, 401)
    assert len(server.requests) == 2


def test_a_nonce_that_is_stale_is_answered_by_the_next(serve, check):
    """A stale nonce, such as that of another server behind the name, is replaced by the new one."""

    def asked(rest: str):
        line = f'Digest realm="cam", qop="auth", nonce={rest}'
        return answer(b"", "401 No", [("WWW-Authenticate", line)])

    steps = [asked('"a"'), asked('"b", stale=TRUE'), answer()]
    server = serve(steps.__getitem__)
    seen = check(server.url(), http=login())
    assert (seen.failure, seen.answer.status) == (None, 200)
    assert [fields_of(request).get("nonce") for request in server.requests] == [None, b"a", b"b"]


def test_nonces_that_are_always_stale_come_to_an_end(serve, check):
    """If every nonce is stale, the 401 after the second login is the answer."""
    line = 'Digest realm="cam", nonce="a", stale=true'
    server = serve(answer(b"", "401 No", [("WWW-Authenticate", line)]))
    assert check(server.url(), http=login()).answer.status == 401
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b'Digest realm="r", nonce="n", algorithm=SHA3-256', "with 'SHA3-256'; the monitor knows"),
        (b'Digest realm="r", nonce="n", qop="auth-conf"', "with 'qop=auth-conf'; the monitor"),
    ],
)
def test_a_challenge_that_nobody_here_knows_is_told(serve, check, line, part):
    """If no login is possible, the check reports what the server asks for, beside its answer."""
    server = serve(answer(b"", "401 No", [("WWW-Authenticate", line.decode())]))
    seen = check(server.url(), http=login())
    assert seen.failure.reason is Reason.PROTOCOL_ERROR
    assert part in seen.failure.message
    assert f"127.0.0.1:{server.port} wants Digest" in seen.failure.message
    assert seen.answer.status == 401


def test_a_login_survives_a_redirect_on_its_host(serve, check):
    """The next page on the same host sends its own challenge, and it is answered too."""
    line = 'Digest realm="cam", nonce="n", qop="auth"'
    asked = answer(b"", "401 No", [("WWW-Authenticate", line)])
    steps = [asked, answer(b"", "302 Found", [("Location", "/b")]), asked, answer()]
    server = serve(steps.__getitem__)
    seen = check(server.url(), http=login())
    assert (seen.failure, seen.answer.status) == (None, 200)
    assert [bool(fields_of(request)) for request in server.requests] == [False, True, False, True]
