"""
Services that messages go to: what makes a receiver of a provider's settings, for each of them.

Nearly all are reached by apprise, whose URLs hold their settings.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from monitor.importers.receivers import Made, Maker, NoReceiver, ProviderSettings
from monitor.outbound import check_header

UNCLOSED = "its alerts stay open when a site is up again, because apprise does not close them"
"""How an on-call service differs."""
_NATIVE: Mapping[str, str] = {
    "discord": r"https://discord(?:app)?\.com/api/webhooks/\d+/[\w-]+/?",
    "slack": r"https://hooks\.slack\.com/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+/?",
    "teams-workflows": (
        r"https://[\w.-]+(?:\.logic\.azure\.com|\.environment\.api\.powerplatform\.com)(?::443)?"
        r"(?:/powerautomate/automations/direct)?/workflows/\S+"
    ),
    "googlechat": r"https://chat\.googleapis\.com/v1/spaces/\S+",
}
"""Services whose own webhook URLs apprise accepts unchanged."""
_HOOK = re.compile(r"(https?)://([^/?#@\s]+)((?:/[^?#\s]*)?)/hooks/([^/?#\s]+)/?")
_ROCKET = re.compile(r"(https?)://([^/?#@\s]+)/hooks/([^/?#\s]+/[^/?#\s]+)/?")
_SIGNAL = re.compile(r"(https?)://([^/?#@\s]+)/v2/send/?")
_PLACE = re.compile(r"\{([\w-]+)([!*]?)\}")
_APPRISE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SAFE = ":@,-"
_NTFY = "https://ntfy.sh"
_MATRIX = "https://matrix-client.matrix.org"
_SMTPS = "465"
_STARTTLS = "587"


def spelled(template: str) -> Maker:
    """
    Return the maker of a URL that settings are put into.

    Args:
        template: With ``{setting}``, or ``{setting!}`` for a secret and ``{setting*}`` for what may
            be several; each of them is needed.
    """

    def url(settings: ProviderSettings, _: Mapping[str, str]) -> str:
        def part(found: re.Match[str]) -> str:
            key, kind = found.groups()
            return settings.several(key) if kind == "*" else settings.part(key, secret=kind == "!")

        return _PLACE.sub(part, template)

    return url


def hooked(pattern: str, template: str) -> Maker:
    """
    Return the maker of the URL of a service whose webhooks have their token in their own URL.

    Args:
        pattern: Of such a webhook, with groups for what the template has; the last is the token.
        template: With ``{}`` for each group.
    """

    def url(settings: ProviderSettings, names: Mapping[str, str]) -> str:
        key = names["url"]
        found = re.fullmatch(pattern, settings.value(key))
        if found is None:
            raise NoReceiver(f"{key} is not a webhook of the service")
        *others, token = found.groups()
        return template.format(*others, settings.hide(quote(token, safe=_SAFE), key))

    return url


def native(service: str) -> Maker:
    """Return the maker of the URL of a service whose webhooks apprise takes as they are."""

    def url(settings: ProviderSettings, names: Mapping[str, str]) -> str:
        key = names["url"]
        raw, value = settings.raw(key), settings.value(key)
        if not raw:
            raise NoReceiver(f"{key} is missing")
        if value and not re.fullmatch(_NATIVE[service], value):
            raise NoReceiver(f"{key} is not one of the service's own, which is what apprise takes")
        return settings.whole(key)

    return url


def teams(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    """Teams' webhooks: those of workflows work, those of connectors have ended."""
    if re.fullmatch(_NATIVE["teams-workflows"], settings.value(names["url"])):
        return settings.whole(names["url"])
    raise NoReceiver(
        "Microsoft has ended the connectors of Teams; make a workflow and give apprise its URL"
    )


def discord(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    kind = settings.value(names["channel"])
    if kind == "createNewForumPost":
        raise NoReceiver("each message is a post of its own in a forum, which apprise cannot do")
    url = str(native("discord")(settings, names))
    if kind == "postToThread":
        return f"{url}?thread={settings.part(names['thread'])}"
    return url


def twilio(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    made = spelled(
        "twilio://{twilioAccountSID}:{twilioAuthToken!}@{twilioFromNumber}/{twilioToNumber*}"
    )
    url = str(made(settings, names))
    key = settings.part(names["key"], secret=True, needed=False)
    return f"{url}?apikey={key}" if key else url


def telegram(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    if settings.raw(names["server"]) not in ("", "https://api.telegram.org"):
        raise NoReceiver(f"{names['server']}: apprise sends to api.telegram.org only")
    token = settings.part(names["token"], secret=True)
    topic = settings.part(names["topic"], needed=False)
    url = f"tgram://{token}/{settings.part(names['chat'])}{f':{topic}' if topic else ''}"
    return f"{url}?silent=yes" if settings.flag(names["silent"]) else url


def ntfy(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    scheme, address = _server(settings, names["server"], _NTFY)
    token = settings.part(names["token"], secret=True, needed=False)
    user = settings.part(names["user"], needed=False)
    password = settings.part(names["password"], secret=True, needed=False)
    login = f"{token}@" if token else f"{user}:{password}@" if user else ""
    topic = settings.part(names["topic"])
    mode = "?auth=token" if token else ""
    return f"ntfy{'s' if scheme == 'https' else ''}://{login}{address}/{topic}{mode}"


def pushover(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    user = settings.part(names["user"], secret=True)
    device = settings.part(names["device"], needed=False)
    url = f"pover://{user}@{settings.part(names['token'], secret=True)}"
    return f"{url}/{device}" if device else url


def mattermost(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    scheme, address, path, token = _parts(settings, names["url"], _HOOK, "https://HOST/hooks/TOKEN")
    channel = settings.part(names["channel"], needed=False).removeprefix("%23")
    url = (
        f"mmost{'s' if scheme == 'https' else ''}://{address}{path}/{settings.hide(token, 'token')}"
    )
    return f"{url}?channel={channel}" if channel else url


def rocketchat(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    scheme, address, token = _parts(settings, names["url"], _ROCKET, "https://HOST/hooks/ID/TOKEN")
    channel = settings.part(names["channel"], needed=False)
    if channel and channel[0] != "@" and not channel.startswith("%23"):
        channel = f"%23{channel}"
    hidden = settings.hide(quote(token, safe=""), "token")
    return f"rocket{'s' if scheme == 'https' else ''}://{hidden}@{address}/{channel}?mode=webhook"


def matrix(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    scheme, address = _server(settings, names["server"], _MATRIX)
    token, room = settings.part(names["token"], secret=True), settings.part(names["room"])
    return f"matrix{'s' if scheme == 'https' else ''}://{token}@{address}/{room}"


def signal(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    scheme, address = _parts(settings, names["url"], _SIGNAL, "http://HOST/v2/send")
    people = f"{settings.part(names['from'])}/{settings.several(names['to'])}"
    return f"signal{'s' if scheme == 'https' else ''}://{address}/{people}"


def opsgenie(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    region = settings.value(names["region"]).lower()
    key = settings.part(names["key"], secret=True)
    priority = settings.value(names["priority"]).upper().removeprefix("P")
    given = {"region": "eu" if region == "eu" else "", "priority": priority}
    query = "&".join(f"{name}={quote(value)}" for name, value in given.items() if value)
    return f"opsgenie://{key}/?{query}" if query else f"opsgenie://{key}"


def on_server(scheme: str, template: str, default: str = "", *, path: bool = False) -> Maker:
    """
    Return the maker of the URL of a service on a server of one's own.

    Args:
        scheme: Over HTTP; with an s over HTTPS.
        template: The part after the address of the server, as in spelled().
        default: The server if none is named.
        path: Whether apprise takes a path before it.
    """
    rest = spelled(template)

    def url(settings: ProviderSettings, names: Mapping[str, str]) -> str:
        how, address = _server(settings, names["server"], default, path=path)
        return f"{scheme}{'s' if how == 'https' else ''}://{address}{rest(settings, names)}"

    return url


def given(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    """One of apprise's URLs, which is secret as a whole."""
    if not _APPRISE.fullmatch(settings.value(names["url"])):
        raise NoReceiver(f"{names['url']} is not one of apprise's URLs")
    return settings.whole(names["url"])


def webhook(settings: ProviderSettings, names: Mapping[str, str]) -> Made:
    if settings.value(names["method"]).lower() not in ("", "post"):
        raise NoReceiver("it asks by GET, and a webhook here is a POST")
    if settings.value(names["body"]) not in ("", "json"):
        raise NoReceiver("a body of its own, where a webhook of ours has Alertmanager's")
    _server(settings, names["url"], path=True)
    made: dict[str, Any] = {"webhook": {"url": settings.whole(names["url"])}}
    try:
        written = json.loads(settings.value(names["headers"]) or "{}")
        headers = {str(name): str(value) for name, value in dict(written).items()}
        for name, value in headers.items():
            check_header(name, value)
    except (ValueError, TypeError):
        raise NoReceiver(f"{names['headers']} is not an object of headers") from None
    kept = {
        name: settings.hide(value, name)
        for name, value in headers.items()
        if name.lower() not in ("content-type", "content-length", "host")
    }
    return {**made, "headers": kept} if kept else made


def email(settings: ProviderSettings, names: Mapping[str, str]) -> str:
    host, port = settings.part(names["host"]), settings.part(names["port"], needed=False)
    sender, to = settings.part(names["from"]), settings.part(names["to"])
    password = settings.part(names["password"], secret=True, needed=False)
    login = ""
    if password:
        who = names["user"] if settings.raw(names["user"]) else names["from"]
        login = f"{settings.part(who, safe='')}:{password}@"
    number = settings.value(names["port"])
    wrapped = number == _SMTPS or settings.flag(names["wrapped"])
    plain = settings.flag(names["plain"]) and not wrapped
    secure = not plain and (wrapped or bool(password) or number == _STARTTLS)
    more = "".join(
        f"&{key}={value}"
        for key in ("cc", "bcc")
        if (value := settings.part(names[key], needed=False))
    )
    more += "&mode=ssl" if wrapped else ""
    more += "&verify=no" if secure and settings.flag(names["unverified"]) else ""
    address = f"{host}:{port}" if port else host
    return f"mailto{'s' if secure else ''}://{login}{address}?from={sender}&to={to}{more}"


def _parts(
    settings: ProviderSettings, key: str, pattern: re.Pattern[str], form: str
) -> tuple[str, ...]:
    """
    Return the groups that a pattern has in the whole value of a setting.

    Raises:
        NoReceiver: The value is not of the form.
    """
    found = pattern.fullmatch(settings.value(key))
    if found is None:
        raise NoReceiver(f"{key} is not of the form {form}")
    return found.groups()


def _server(
    settings: ProviderSettings, key: str, default: str = "", *, path: bool = False
) -> tuple[str, str]:
    """Return the scheme of a server's URL, and its host, port and path."""
    value = settings.value(key) or default
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, good = urlsplit(""), False
    if not good or parts.username or not value.isprintable() or " " in value:
        raise NoReceiver(f"{key} is not an http or https URL of a host")
    if parts.path.strip("/") and not path:
        raise NoReceiver(f"{key} has a path, which apprise would not take for one")
    return parts.scheme, f"{parts.netloc}{parts.path.rstrip('/')}"


squadcast = hooked(r"https://api\.squadcast\.com/v2/incidents/api/(\w+)/?", "squadcast://{}")
