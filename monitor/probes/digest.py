"""
HTTP Digest authentication (RFC 7616), instead of requests' own class.

That class mixes up the parameters of several challenges, and does not support SHA-512-256, the
session variants of the SHA algorithms, or challenges that also protect the body (``auth-int``).
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.auth import AuthBase

from monitor.grammar import TOKEN
from monitor.model import Failure, Reason
from monitor.options import compile_regex
from monitor.probes.transport import ExchangeFailed

_UNAUTHORIZED = 401
_FIRST = b"00000001"  # how often a nonce was used: each only once
_MOST_ALGORITHMS = 3
_LONGEST_ALGORITHM = 30

_HASHES = {
    "MD5": "md5",
    "SHA-256": "sha256",
    "SHA-512-256": "sha512_256",
    # Not in RFC 7616, but in use
    "SHA": "sha1",
    "SHA-512": "sha512",
}
_SESSION = "-SESS"
_KNOWN = "MD5, SHA-256 and SHA-512-256"

# A parameter, after its scheme if it is the first; or a scheme without parameters
_VALUE = r"""(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))"""
_ELEMENT = compile_regex(rf"(?:({TOKEN})[ \t]+)?({TOKEN})[ \t]*=[ \t]*{_VALUE}|({TOKEN})")
_ESCAPED = compile_regex(r"\\(.)")


class DigestAuth(AuthBase):
    """Answers the challenge of a 401 with a second request over the same adapter."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username.encode()
        self._password = password.encode()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.register_hook("response", self._answer)  # type: ignore[no-untyped-call]  # requests has no types
        return request

    def _answer(self, response: Response, **kwargs: Any) -> Response:
        """
        Return the answer to the credentials, or the 401 if it does not ask for Digest.

        Raises:
            ExchangeFailed: It asks for a kind of Digest that is not supported.
        """
        if response.status_code != _UNAUTHORIZED:
            return response
        offers = _offers(response)
        # The server lists them by preference; the first known one counts (RFC 7616, 3.7)
        chosen = next((offer for offer in offers if _is_known(offer)), None)
        if chosen is None:
            if offers:
                raise ExchangeFailed(_unknown(offers, response.url))
            return response
        request = self._with_credentials(response.request, chosen)
        answer: Response = response.connection.send(request, **kwargs)
        if answer.status_code == _UNAUTHORIZED:
            # Another server behind the same name may know the password but not the nonce
            fresh = next((offer for offer in _offers(answer) if _is_stale(offer)), None)
            if fresh is not None:
                request = self._with_credentials(request, fresh)
                answer = response.connection.send(request, **kwargs)
        answer.history.append(response)
        return answer

    def _with_credentials(
        self, request: PreparedRequest, challenge: Mapping[str, str]
    ) -> PreparedRequest:
        again = request.copy()
        # As bytes, because a realm may contain any, and text is sent as UTF-8
        value = self._credentials(challenge, again)
        again.headers["Authorization"] = value  # type: ignore[assignment]  # requests takes both
        return again

    def _credentials(self, challenge: Mapping[str, str], request: PreparedRequest) -> bytes:
        """Return the value of Authorization (RFC 7616, 3.4)."""
        given = {name: value.encode("latin-1") for name, value in challenge.items()}
        realm, nonce = given["realm"], given["nonce"]
        algorithm = challenge.get("algorithm", "MD5").upper()
        hashed = _HASHES[algorithm.removesuffix(_SESSION)]

        def digest(*parts: bytes) -> bytes:
            whole = b":".join(parts)
            return hashlib.new(hashed, whole, usedforsecurity=False).hexdigest().encode()

        cnonce = secrets.token_hex(16).encode()
        user = digest(self._username, realm, self._password)
        if algorithm.endswith(_SESSION):
            user = digest(user, nonce, cnonce)
        protection = _protection(challenge)
        asked = [(request.method or "GET").encode(), request.path_url.encode()]
        if protection == "auth-int":
            body = request.body or b""
            asked.append(digest(body.encode() if isinstance(body, str) else body))
        counted = [_FIRST, cnonce, protection.encode()] if protection else []
        by_hash = challenge.get("userhash", "").lower() == "true"
        name = digest(self._username, realm) if by_hash else self._username
        quoted = {b"username": name, b"realm": realm, b"nonce": nonce, b"uri": asked[1]}
        quoted[b"response"] = digest(user, nonce, *counted, digest(*asked))
        if "opaque" in given:
            quoted[b"opaque"] = given["opaque"]
        bare = {b"algorithm": given["algorithm"]} if "algorithm" in given else {}
        if protection:
            quoted[b"cnonce"] = cnonce
            bare |= {b"qop": protection.encode(), b"nc": _FIRST}
        if by_hash:
            bare[b"userhash"] = b"true"
        fields = [b'%s="%s"' % (name, _escaped(value)) for name, value in quoted.items()]
        fields += [b"%s=%s" % pair for pair in bare.items()]
        return b"Digest " + b", ".join(fields)


def _offers(response: Response) -> Sequence[Mapping[str, str]]:
    """Return the Digest challenges in an answer that can be answered at all."""
    challenges = _challenges(response.headers.get("WWW-Authenticate", ""))
    return [offer for offer in challenges if "realm" in offer and "nonce" in offer]


def _is_stale(challenge: Mapping[str, str]) -> bool:
    """Return whether only the nonce was refused, and the challenge is of a known kind."""
    return challenge.get("stale", "").lower() == "true" and _is_known(challenge)


def _challenges(header: str) -> Iterator[Mapping[str, str]]:
    """Yield the parameters of each Digest challenge in a list of challenges (RFC 9110, 11.6.1)."""
    current: dict[str, str] | None = None
    for found in _ELEMENT.finditer(header):
        scheme, name, quoted, bare, lone = found.groups()
        scheme = scheme or lone
        if scheme:
            if current is not None:
                yield current
            current = {} if scheme.lower() == "digest" else None
        if name and current is not None:
            text = _ESCAPED.sub(r"\1", quoted) if quoted is not None else bare
            current.setdefault(name.lower(), text)
    if current is not None:
        yield current


def _is_known(challenge: Mapping[str, str]) -> bool:
    algorithm = challenge.get("algorithm", "MD5").upper().removesuffix(_SESSION)
    return algorithm in _HASHES and (not challenge.get("qop") or bool(_protection(challenge)))


def _protection(challenge: Mapping[str, str]) -> str:
    """Return the qop to answer with; empty if none is known or none is required (RFC 2069)."""
    offered = [one.strip().lower() for one in challenge.get("qop", "").split(",")]
    return next((one for one in ("auth", "auth-int") if one in offered), "")


def _unknown(offers: Sequence[Mapping[str, str]], url: str) -> Failure:
    wanted = []
    for offer in offers[:_MOST_ALGORITHMS]:
        what = offer.get("algorithm", "MD5")
        if what.upper().removesuffix(_SESSION) in _HASHES:
            what = f"qop={offer['qop']}"
        wanted.append(repr(what[:_LONGEST_ALGORITHM]))
    message = (
        f"{urlsplit(url).netloc} wants Digest authentication with {' or '.join(wanted)}; the "
        f"monitor knows {_KNOWN}, with qop auth and auth-int"
    )
    return Failure(Reason.PROTOCOL_ERROR, message)


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
