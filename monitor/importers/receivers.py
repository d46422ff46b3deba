"""Alert providers of other monitors as receivers: one of apprise's URLs for each."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

from monitor.importers.draft import Secrets, between_references, has_reference, resolved

_NATIVE = {
    "discord": r"https://discord(?:app)?\.com/api/webhooks/\d+/[\w-]+/?",
    "slack": r"https://hooks\.slack\.com/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+/?",
    "teams-workflows": r"https://[\w.-]+\.logic\.azure\.com(?::443)?/workflows/\S+",
    "googlechat": r"https://chat\.googleapis\.com/v1/spaces/\S+",
}
"""Services whose own webhook URLs apprise takes as they are."""
_HOOK = re.compile(r"(https?)://([^/?#@\s]+)((?:/[^?#\s]*)?)/hooks/([^/?#\s]+)/?")
_SAFE = ":@,-"
_NTFY = "https://ntfy.sh"
_SMTPS = "465"
_STARTTLS = "587"


class NoReceiver(Exception):  # noqa: N818  not an error: a reason
    """A provider that cannot be carried; the text says why."""


class Settings:
    """
    The settings of a provider; each may hold references.

    Args:
        name: Of the receiver, after which its secrets are named.
    """

    def __init__(
        self, name: str, values: Mapping[str, Any], secrets: Secrets, environ: Mapping[str, str]
    ) -> None:
        self.name = name
        self.used: set[str] = set()
        self._values = values
        self._secrets = secrets
        self._environ = environ

    def raw(self, key: str) -> str:
        self.used.add(key)
        value = self._values.get(key)
        return "" if value is None or isinstance(value, dict | list) else str(value).strip()

    def value(self, key: str) -> str:
        """Return a setting with the values of its variables."""
        return resolved(self.raw(key), self._environ).strip()

    def part(
        self, key: str, *, secret: bool = False, needed: bool = True, safe: str = _SAFE
    ) -> str:
        """
        Return a setting as a part of a URL: what is special there is percent-encoded.

        A variable stays one unless its value would have to be encoded.

        Raises:
            NoReceiver: It is needed, and missing.
        """
        raw, value = self.raw(key), self.value(key)
        if not raw:
            if needed:
                raise NoReceiver(f"{key} is missing")
            return ""
        encoded = quote(value, safe=safe)
        if has_reference(raw):
            if encoded == value:
                return raw
            return self._secrets.hide(encoded, self.name, key)
        return self._secrets.hide(encoded, self.name, key) if secret else encoded

    def whole(self, key: str) -> str:
        """Return a setting, which is secret as a whole."""
        raw = self.raw(key)
        if any(not is_reference for _, is_reference in between_references(raw)):
            return self._secrets.hide(self.value(key), self.name, key)
        return raw

    def hide(self, value: str, key: str) -> str:
        return self._secrets.hide(value, self.name, key)


Url: TypeAlias = Callable[[Settings, Mapping[str, str]], str]
"""Takes settings, and what they are called there by the name here; returns apprise's URL."""


def native(service: str) -> Url:
    """Return the maker of the URL of a service whose webhooks apprise takes as they are."""

    def url(settings: Settings, names: Mapping[str, str]) -> str:
        key = names["url"]
        raw, value = settings.raw(key), settings.value(key)
        if not raw:
            raise NoReceiver(f"{key} is missing")
        if value and not re.fullmatch(_NATIVE[service], value):
            raise NoReceiver(f"{key} is not one of the service's own, which is what apprise takes")
        return settings.whole(key)

    return url


def telegram(settings: Settings, names: Mapping[str, str]) -> str:
    if settings.raw(names["server"]) not in ("", "https://api.telegram.org"):
        raise NoReceiver(f"{names['server']}: apprise sends to api.telegram.org only")
    token = settings.part(names["token"], secret=True)
    topic = settings.part(names["topic"], needed=False)
    return f"tgram://{token}/{settings.part(names['chat'])}{f':{topic}' if topic else ''}"


def ntfy(settings: Settings, names: Mapping[str, str]) -> str:
    scheme, address = _server(settings, names["server"], _NTFY)
    token = settings.part(names["token"], secret=True, needed=False)
    user = settings.part(names["user"], needed=False)
    password = settings.part(names["password"], secret=True, needed=False)
    login = f"{token}@" if token else f"{user}:{password}@" if user else ""
    if "/" in address:
        raise NoReceiver(f"{names['server']} has a path, where apprise expects topics")
    topic = settings.part(names["topic"])
    mode = "?auth=token" if token else ""
    return f"ntfy{'s' if scheme == 'https' else ''}://{login}{address}/{topic}{mode}"


def gotify(settings: Settings, names: Mapping[str, str]) -> str:
    scheme, address = _server(settings, names["server"])
    token = settings.part(names["token"], secret=True)
    return f"gotify{'s' if scheme == 'https' else ''}://{address}/{token}"


def pushover(settings: Settings, names: Mapping[str, str]) -> str:
    user = settings.part(names["user"], secret=True)
    device = settings.part(names["device"], needed=False)
    url = f"pover://{user}@{settings.part(names['token'], secret=True)}"
    return f"{url}/{device}" if device else url


def mattermost(settings: Settings, names: Mapping[str, str]) -> str:
    key = names["url"]
    found = _HOOK.fullmatch(settings.value(key))
    if found is None:
        raise NoReceiver(f"{key} is not of the form https://HOST/hooks/TOKEN")
    scheme, address, path, token = found.groups()
    channel = settings.part(names["channel"], needed=False).removeprefix("%23")
    url = (
        f"mmost{'s' if scheme == 'https' else ''}://{address}{path}/{settings.hide(token, 'token')}"
    )
    return f"{url}?channel={channel}" if channel else url


def email(settings: Settings, names: Mapping[str, str]) -> str:
    host, port = settings.part(names["host"]), settings.part(names["port"], needed=False)
    sender, to = settings.part(names["from"]), settings.part(names["to"])
    password = settings.part(names["password"], secret=True, needed=False)
    login = ""
    if password:
        who = names["user"] if settings.raw(names["user"]) else names["from"]
        login = f"{settings.part(who, safe='')}:{password}@"
    number = settings.value(names["port"])
    secure = bool(password) or number in (_SMTPS, _STARTTLS)
    mode = "&mode=ssl" if number == _SMTPS else ""
    address = f"{host}:{port}" if port else host
    return f"mailto{'s' if secure else ''}://{login}{address}?from={sender}&to={to}{mode}"


def _server(settings: Settings, key: str, default: str = "") -> tuple[str, str]:
    """Return the scheme of a server's URL, and its host, port and path."""
    parts = urlsplit(settings.value(key) or default)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise NoReceiver(f"{key} is not an http or https URL of a host")
    return parts.scheme, f"{parts.netloc}{parts.path.rstrip('/')}"
