"""What in a configuration is secret by what it is, wherever it came from."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from monitor.config.substitute import HIDDEN
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


def hide_credentials(text: str) -> str:
    """Return the text with user and password of each URL masked."""
    return _USERINFO.sub(f"{HIDDEN}@", text)
