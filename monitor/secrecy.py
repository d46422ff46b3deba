"""
Which strings are secret, in which forms they occur, and how a text is masked.

The rule: **a text is masked where it becomes final**. These places are final, and each masks
everything that it gets:

    engine/result.py               a Result, its answer by protocols/: what is shown and kept
    logs.py                        a log line
    config/mask.py, load.py        the text of /config
    config/decoder.py, sites.py,   a problem in the list: it may quote any value that was written;
      documents.py                 there is no configuration yet that could tell its secrets
    messages/receivers/            what a receiver answered, as the outbox keeps it

Code before these places masks for only one reason: it is about to truncate, escape or take apart a
text, after which a secret in it can no longer be recognised (analysis/seen.py, probes/dialogue.py,
probes/observe.py, and the message about a redirect in probes/http.py).
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import escape
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit, urlunsplit

HIDDEN = "<secret>"
"""The text that replaces a secret."""

_SHORTEST = 4
_USERINFO = re.compile(r"(?<=://)([^/?#\s]*)@")
_SENSITIVE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_SENSITIVE_WORDS = ("token", "secret", "key", "password")
_BETWEEN_PIECES = re.compile(r"[/:;,=@+#&?]+")
_NO_SECRETS = frozenset({"true", "false", "null", "none", "localhost", "text", "html", "markdown"})
"""Values of common options; masking them would damage texts that do not quote a secret."""
# What libraries leave unescaped in a URL, beside letters, digits and "_.-~": nothing in a single
# part; JavaScript's choice for a part; urllib3's and requests' for a whole URL
_UNQUOTED = ("", "!*'()", "!$&'()*+,;=:@/?", "!$&'()*+,;=:@/?%", "!#$%&'()*+,/:;=?@[]~")


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """
    Return the text with each secret replaced by ``<secret>``.

    Only secrets of at least 4 characters are searched for in free text: shorter ones would damage
    every message. A shorter one is masked where its key or header says that it is a secret.

    Args:
        secrets: In every form, longest first.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST and secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return secrets in the order of masking, because one may be a part of another."""
    return tuple(sorted(set(secrets), key=lambda secret: (-len(secret), secret)))


def every_form(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the secrets and their forms in URLs, headers, JSON and HTML; longest first."""
    forms: set[str] = set()
    for plain in {one for secret in secrets for one in (secret, unquote(secret))}:
        forms.add(plain)
        if redact(plain, (plain,)) == plain:
            continue  # too short to search for in free text, and so are its forms
        forms.update((quote_plus(plain, errors="replace"), escape(plain)))
        # Headers are read as Latin-1, whatever character set the server used
        forms.add(plain.encode(errors="replace").decode("latin-1"))
        forms.update(quote(plain, safe=safe, errors="replace") for safe in _UNQUOTED)
        forms.update(json.dumps(plain, ensure_ascii=escaped)[1:-1] for escaped in (True, False))
    return longest_first(forms)


def basic_credentials(username: str, password: str) -> tuple[str, ...]:
    """Return the forms that basic authentication sends (RFC 7617): UTF-8, Latin-1 if possible."""
    text = f"{username}:{password}"
    encoded = {text.encode(errors="replace"): None}
    with suppress(UnicodeEncodeError):
        encoded[text.encode("latin-1")] = None
    return tuple(b64encode(one).decode() for one in encoded)


def is_sensitive_header(name: str) -> bool:
    """Return whether a header's value is always secret."""
    name = name.lower()
    return name in _SENSITIVE_HEADERS or any(word in name for word in _SENSITIVE_WORDS)


def header_credentials(value: str) -> Iterator[str]:
    """Yield the value of a sensitive header, and the part after its scheme (``Bearer …``)."""
    if value:
        yield value
        _, _, rest = value.partition(" ")
        if rest:
            yield rest


def credentials(text: str) -> Iterator[str]:
    """Yield users and passwords of the URLs in a text: as written, as decoded and as sent."""
    for userinfo in _USERINFO.findall(text):
        user, _, password = userinfo.partition(":")
        for part in (user, password):
            if part:
                yield part
                yield unquote(part)
        if userinfo:  # a token may be alone before the @
            yield from basic_credentials(unquote(user), unquote(password))


def parts_of_url(url: str, *, with_host: bool = False) -> Iterator[str]:
    """
    Yield the possible secrets of a URL that is secret as a whole.

    These are each part of its path and each value of its query, and their pieces if they have some
    (``bot123:token``), because only the service knows which of them is the token. So a text about
    it may also lose a harmless word of the path.

    Args:
        with_host: Whether the secret may also be in place of the host, as in apprise's URLs.
    """
    place, _, query = url.partition("://")[2].partition("?")
    if not with_host:
        place = place.partition("/")[2]
    pairs = (pair.partition("=") for pair in query.split("&"))
    parts = [*place.split("/"), *(value or name for name, _, value in pairs)]
    for text in dict.fromkeys(
        form(part) for part in parts for form in (str, unquote, unquote_plus)
    ):
        for piece in (text, *_BETWEEN_PIECES.split(text)):
            if piece and piece.lower() not in _NO_SECRETS:
                yield piece


def without_credentials(url: str) -> str:
    """Return a URL without user and password."""
    if "@" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def hide_credentials(text: str) -> str:
    """Return the text with user and password of each URL masked."""
    return _USERINFO.sub(f"{HIDDEN}@", text)
