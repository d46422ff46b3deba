"""What in a configuration is secret by what it is, wherever it came from."""

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from urllib.parse import quote, quote_plus, unquote

from monitor.config.substitute import HIDDEN
from monitor.model import longest_first, redact
from monitor.options import basic_credentials

_USERINFO = re.compile(r"(?<=://)([^/?#\s]*)@")
_SENSITIVE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_SENSITIVE_WORDS = ("token", "secret", "key", "password")


def is_sensitive_header(name: str) -> bool:
    """Return whether a header's value is shown to nobody."""
    name = name.lower()
    return name in _SENSITIVE_HEADERS or any(word in name for word in _SENSITIVE_WORDS)


def header_credentials(value: str) -> Iterator[str]:
    """Yield the value of a sensitive header, and what follows its scheme (``Bearer …``)."""
    if value:
        yield value
        _, _, rest = value.partition(" ")
        if rest:
            yield rest


def credentials(text: str) -> Iterator[str]:
    """Yield users and passwords of the URLs in a text: as written, decoded and as they are sent."""
    for userinfo in _USERINFO.findall(text):
        user, _, password = userinfo.partition(":")
        for part in (user, password):
            if part:
                yield part
                yield unquote(part)
        if password:
            yield from basic_credentials(unquote(user), unquote(password))


# What libraries leave as it is in a URL, beside letters, digits and "_.-~": none for a part alone,
# JavaScript's for a part, urllib3's and requests' for a whole one
_UNQUOTED = ("", "!*'()", "!$&'()*+,;=:@/?", "!$&'()*+,;=:@/?%", "!#$%&'()*+,/:;=?@[]~")


def every_form(secrets: Iterable[str]) -> tuple[str, ...]:
    """
    Return the secrets, and what becomes of them in URLs, headers, JSON and HTML; longest first.

    One may be a part of another, so they are masked in this order.
    """
    forms: set[str] = set()
    for plain in {one for secret in secrets for one in (secret, unquote(secret))}:
        forms.add(plain)
        if redact(plain, (plain,)) == plain:
            continue  # too short to be looked for in free text, and so are its forms
        forms.update((quote_plus(plain, errors="replace"), escape(plain)))
        # Headers are read as Latin-1, whatever the server took for their character set
        forms.add(plain.encode(errors="replace").decode("latin-1"))
        forms.update(quote(plain, safe=safe, errors="replace") for safe in _UNQUOTED)
        forms.update(json.dumps(plain, ensure_ascii=escaped)[1:-1] for escaped in (True, False))
    return longest_first(forms)


def hide_credentials(text: str) -> str:
    """Return the text with user and password of each URL masked."""
    return _USERINFO.sub(f"{HIDDEN}@", text)
