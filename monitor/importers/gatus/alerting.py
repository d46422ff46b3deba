"""Gatus' providers of alerts as receivers, and the alerts of an endpoint as its ``notify``."""

from collections.abc import Mapping
from typing import Any

from monitor.importers import services
from monitor.importers.draft import ListDraft, SiteDraft, resolved
from monitor.importers.gatus.values import Fields, parse_bool
from monitor.importers.receivers import Provider, Receivers
from monitor.importers.services import UNCLOSED, hooked, native, on_server, spelled

PROVIDERS: Mapping[str, Provider] = {
    "discord": Provider(native("discord"), {"url": "webhook-url"}),
    "slack": Provider(native("slack"), {"url": "webhook-url"}),
    "teams": Provider(services.teams, {"url": "webhook-url"}),
    "teams-workflows": Provider(native("teams-workflows"), {"url": "webhook-url"}),
    "googlechat": Provider(native("googlechat"), {"url": "webhook-url"}),
    "telegram": Provider(
        services.telegram,
        {"server": "api-url", "token": "token", "chat": "id", "topic": "topic-id", "silent": ""},
    ),
    "ntfy": Provider(
        services.ntfy,
        {"server": "url", "topic": "topic", "token": "token", "user": "", "password": ""},
    ),
    "gotify": Provider(on_server("gotify", "/{token!}", path=True), {"server": "server-url"}),
    "pushover": Provider(
        services.pushover,
        {"user": "user-key", "token": "application-token", "device": "device"},
    ),
    "mattermost": Provider(services.mattermost, {"url": "webhook-url", "channel": "channel"}),
    "rocketchat": Provider(services.rocketchat, {"url": "webhook-url", "channel": "channel"}),
    "matrix": Provider(
        services.matrix,
        {"server": "server-url", "token": "access-token", "room": "internal-room-id"},
    ),
    "signal": Provider(services.signal, {"url": "api-url", "from": "number", "to": "recipients"}),
    "opsgenie": Provider(
        services.opsgenie, {"key": "api-key", "priority": "priority", "region": ""}, UNCLOSED
    ),
    "squadcast": Provider(
        services.squadcast,
        {"url": "webhook-url"},
        UNCLOSED,
    ),
    "signl4": Provider(spelled("signl4://{team-secret!}"), differs=UNCLOSED),
    "webex": Provider(
        hooked(
            r"https://(?:api\.ciscospark|webexapis)\.com/v1/webhooks/incoming/(\w+)/?", "webex://{}"
        ),
        {"url": "webhook-url"},
    ),
    "line": Provider(spelled("line://{channel-access-token!}/{user-ids*}")),
    "aws-ses": Provider(
        spelled("ses://{from}/{access-key-id}/{secret-access-key!}/{region}/{to*}")
    ),
    "sendgrid": Provider(spelled("sendgrid://{api-key!}:{from}/{to*}")),
    "twilio": Provider(spelled("twilio://{sid}:{token!}@{from}/{to*}")),
    "vonage": Provider(spelled("vonage://{api-key!}:{api-secret!}@{from}/{to*}")),
    "messagebird": Provider(spelled("msgbird://{access-key!}/{originator}/{recipients*}")),
    "plivo": Provider(spelled("plivo://{auth-id}@{auth-token!}/{from}/{to*}")),
    "email": Provider(
        services.email,
        {
            "host": "host",
            "port": "port",
            "from": "from",
            "to": "to",
            "user": "username",
            "password": "password",
            "cc": "",
            "bcc": "",
            "wrapped": "",
            "plain": "",
            "unverified": "",
        },
    ),
}
"""How each becomes a receiver, and the names of its settings in Gatus 5.36."""
_WHY_NOT = {
    "custom": "a body of its own, where a webhook of ours has Alertmanager's",
    "pagerduty": "apprise's pagerduty://INTEGRATION_KEY@API_KEY needs an API key, too;"
    " Alertmanager does not",
    "splunk": "an event collector takes logs; ship those of the monitor",
    "newrelic": "events are a log's work; ship those of the monitor",
    "datadog": "events are a log's work; ship those of the monitor",
    **dict.fromkeys(
        ("github", "gitlab", "gitea", "clickup"), "it opens issues and closes them; a webhook may"
    ),
    **dict.fromkeys(
        ("ilert", "incident-io"),
        "it takes Gatus' own messages; it has a webhook for Alertmanager's",
    ),
    **dict.fromkeys(
        ("homeassistant", "ifttt", "n8n", "zapier"),
        "what runs there reads Gatus' fields; a webhook of ours has Alertmanager's body",
    ),
    "zulip": "it names the channel by its number, and apprise by its name: "
    "zulip://BOT@ORGANIZATION/KEY/CHANNEL",
}
WITHOUT_OVERRIDES = frozenset(
    ("github", "gitlab", "gitea", "gotify", "messagebird", "opsgenie", "pushover", "twilio")
)
"""Providers whose ``overrides`` Gatus does not read."""
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
    """

    def __init__(self, whole: ListDraft, fields: Fields | None, environ: Mapping[str, str]) -> None:
        self.defaults: dict[str, Mapping[str, Any]] = {}
        self._whole = whole
        self._environ = environ
        self._made = Receivers(whole, environ, PROVIDERS, _why_not, "Gatus")
        self._values: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._of_group: dict[tuple[str, str], str | None] = {}
        for name in [one.removeprefix("alerting.") for one in fields.names()] if fields else []:
            provider = fields.mapping(name) if fields else None
            if provider is not None:
                self._read(name, provider)

    @property
    def receivers(self) -> list[str]:
        """Names of the receivers, in the order of the list."""
        return self._made.names

    def receiver_of(self, site: SiteDraft, kind: str, group: str, alert: Fields) -> list[str]:
        """
        Return the receiver of an alert, if it has one, and tell each field that is left of it.

        Args:
            group: Of the endpoint, whose provider may be another.
        """
        of = (kind, group) if (kind, group) in self._of_group else (kind, "")
        name = self._of_group.get(of)
        where = f"{alert.path}.type"
        own = alert.mapping("provider-override")
        if own is not None and of in self._values:
            given = own.left()
            receiver = f"{kind}-{resolved(str(site.keys['name']), self._environ)}"
            values = {**self._values[of], **given}
            name = self._made.add(receiver, kind, values, given, site, own.path)
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
            self.defaults[name] = {
                key: value for key, value in default.items() if key != "provider-override"
            }
            self._whole.carried(f"alerting.{name}.default-alert", "confirm")
        overrides = provider.mappings("overrides")
        values = provider.left()
        self._add((name, ""), name, values, f"alerting.{name}", values)
        for one in overrides:
            group = resolved(one.text("group"), self._environ)
            own = one.left()
            if name in WITHOUT_OVERRIDES:
                self._whole.dropped(one.path, f"Gatus knows no overrides of {name}", quiet=True)
                continue
            self._whole.carried(f"{one.path}.group", "notify")
            self._add((name, group), f"{name}-{group}", {**values, **own}, one.path, own)

    def _add(
        self,
        of: tuple[str, str],
        name: str,
        values: Mapping[str, Any],
        path: str,
        told: Mapping[str, Any],
    ) -> None:
        self._values[of] = values
        self._of_group[of] = self._made.add(name, of[0], values, told, self._whole, path)


def _why_not(kind: str) -> str:
    return _WHY_NOT.get(kind, "Gatus 5.36 has no such provider")
