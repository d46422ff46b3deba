"""Gatus' providers of alerts as receivers, and the alerts of an endpoint as its ``notify``."""

import re
from collections.abc import Mapping
from typing import Any

from monitor.importers import receivers
from monitor.importers.draft import ListDraft, SiteDraft, resolved
from monitor.importers.gatus.values import Fields, parse_bool
from monitor.importers.receivers import NoReceiver, Settings, Url, native

_PROVIDERS: Mapping[str, tuple[Url, Mapping[str, str]]] = {
    "discord": (native("discord"), {"url": "webhook-url"}),
    "slack": (native("slack"), {"url": "webhook-url"}),
    "teams-workflows": (native("teams-workflows"), {"url": "webhook-url"}),
    "googlechat": (native("googlechat"), {"url": "webhook-url"}),
    "telegram": (
        receivers.telegram,
        {"server": "api-url", "token": "token", "chat": "id", "topic": "topic-id"},
    ),
    "ntfy": (
        receivers.ntfy,
        {"server": "url", "topic": "topic", "token": "token", "user": "", "password": ""},
    ),
    "gotify": (receivers.gotify, {"server": "server-url", "token": "token"}),
    "pushover": (
        receivers.pushover,
        {"user": "user-key", "token": "application-token", "device": "device"},
    ),
    "mattermost": (receivers.mattermost, {"url": "webhook-url", "channel": "channel"}),
    "email": (
        receivers.email,
        {
            "host": "host",
            "port": "port",
            "from": "from",
            "to": "to",
            "user": "username",
            "password": "password",
        },
    ),
}
"""How each becomes a receiver, and what its settings are called."""
_OF_ALERT = {
    "description": "messages say why the check failed",
    "minimum-reminder-interval": "notify.repeat_interval is one for the whole list",
    "send-on-resolved": "the end of an outage is always sent",
}


class Alerting:
    """
    The providers.

    Attributes:
        defaults: Of the alerts of each provider.
        receivers: Names of the receivers, in the order of the list.
    """

    def __init__(self, whole: ListDraft, fields: Fields | None, environ: Mapping[str, str]) -> None:
        self.defaults: dict[str, Mapping[str, Any]] = {}
        self.receivers: list[str] = []
        self._whole = whole
        self._environ = environ
        self._of_group: dict[tuple[str, str], str | None] = {}
        self._urls: list[dict[str, str]] = []
        for name in [one.removeprefix("alerting.") for one in fields.names()] if fields else []:
            provider = fields.mapping(name) if fields else None
            if provider is not None:
                self._read(name, provider)
        if self._urls:
            whole.top["notify"] = {"receivers": self._urls}

    def receiver_of(self, site: SiteDraft, kind: str, group: str, alert: Fields) -> list[str]:
        """
        Return the receiver of an alert, if it has one, and tell each field that is left of it.

        Args:
            group: Of the endpoint, whose provider may be another.
        """
        name = self._of_group.get((kind, group), self._of_group.get((kind, "")))
        where = f"{alert.path}.type"
        if "provider-override" in alert:
            name = None
            why = f"{kind}: a receiver of its own; add it to notify.receivers"
            site.dropped(f"{alert.path}.provider-override", why)
            alert.take("provider-override")
        if name is None:
            site.dropped(where, f"{kind}: there is no such receiver", quiet=True)
        else:
            site.carried(where, "notify")
        for field in list(alert.names()):
            key = field.rpartition(".")[2]
            value = alert.take(key)
            if key == "send-on-resolved" and parse_bool(resolved(str(value), self._environ)):
                site.carried(field, "notify")
                continue
            why = _OF_ALERT.get(key, "of a message of Gatus', which is not sent")
            site.dropped(field, why, quiet=True)
            remark = f"alerts.{key}: {why}"
            if remark not in self._whole.remarks:
                self._whole.remarks.append(remark)
        return [] if name is None else [name]

    def _read(self, name: str, provider: Fields) -> None:
        if name == "default-alert":
            why = "Gatus knows it only below a provider"
            self._whole.dropped(f"alerting.{name}", why, quiet=True)
            list(provider.rest())
            return
        default = provider.take("default-alert")
        if isinstance(default, Mapping):
            self.defaults[name] = default
            self._whole.carried(f"alerting.{name}.default-alert", "confirm")
        overrides = provider.mappings("overrides")
        values = provider.left()
        self._of_group[name, ""] = self._receiver(name, values, f"alerting.{name}", values)
        for one in overrides:
            group = resolved(one.text("group"), self._environ)
            own = one.left()
            slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", group).strip("-") or "group"
            receiver, number = f"{name}-{slug}", 2
            while receiver in self.receivers:
                receiver, number = f"{name}-{slug}-{number}", number + 1
            self._whole.carried(f"{one.path}.group", "notify")
            self._of_group[name, group] = self._receiver(receiver, {**values, **own}, one.path, own)

    def _receiver(
        self, name: str, values: Mapping[str, Any], path: str, told: Mapping[str, Any]
    ) -> str | None:
        """Add a receiver and return its name; None where it cannot be one."""
        provider = path.removeprefix("alerting.").partition(".")[0]
        settings = Settings(name, values, self._whole.secrets, self._environ)
        try:
            url = _url(provider, settings)
        except NoReceiver as reason:
            self._whole.dropped(path, f"{reason}; add a receiver to notify.receivers")
            for field in told:
                self._whole.dropped(f"{path}.{field}", "see above", quiet=True)
            return None
        self.receivers.append(name)
        self._urls.append({"name": name, "apprise": url})
        for field in told:
            if field in settings.used:
                self._whole.carried(f"{path}.{field}", "notify.receivers")
            else:
                self._whole.dropped(f"{path}.{field}", "looks and ways of Gatus' own message")
        return name


def _url(provider: str, settings: Settings) -> str:
    if provider == "custom":
        raise NoReceiver("a body of its own, where a webhook of ours has Alertmanager's")
    if provider not in _PROVIDERS:
        raise NoReceiver("apprise or a webhook may know the service")
    make, names = _PROVIDERS[provider]
    return make(settings, names)
