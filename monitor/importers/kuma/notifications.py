"""Uptime Kuma's notifications as receivers."""

import json
from collections.abc import Mapping
from typing import Any

from monitor.importers import services
from monitor.importers.draft import ListDraft
from monitor.importers.receivers import Provider, Receivers
from monitor.importers.services import UNCLOSED, hooked, native, on_server, spelled

PROVIDERS: Mapping[str, Provider] = {
    # Chats
    "discord": Provider(
        services.discord,
        {"url": "discordWebhookUrl", "channel": "discordChannelType", "thread": "threadId"},
    ),
    "slack": Provider(native("slack"), {"url": "slackwebhookURL"}),
    "teams": Provider(services.teams, {"url": "webhookUrl"}),
    "GoogleChat": Provider(native("googlechat"), {"url": "googleChatWebhookURL"}),
    "telegram": Provider(
        services.telegram,
        {
            "server": "telegramServerUrl",
            "token": "telegramBotToken",
            "chat": "telegramChatID",
            "topic": "telegramMessageThreadID",
            "silent": "telegramSendSilently",
        },
    ),
    "mattermost": Provider(
        services.mattermost, {"url": "mattermostWebhookUrl", "channel": "mattermostchannel"}
    ),
    "rocket.chat": Provider(
        services.rocketchat, {"url": "rocketwebhookURL", "channel": "rocketchannel"}
    ),
    "matrix": Provider(
        services.matrix,
        {"server": "homeserverUrl", "token": "accessToken", "room": "internalRoomId"},
    ),
    "signal": Provider(
        services.signal,
        {"url": "signalURL", "from": "signalNumber", "to": "signalRecipients"},
    ),
    "nextcloudtalk": Provider(
        on_server("nctalk", "/{conversationToken}?secret={botSecret!}"), {"server": "host"}
    ),
    "line": Provider(spelled("line://{lineChannelAccessToken!}/{lineUserID}")),
    "bale": Provider(spelled("bale://{baleBotToken!}/{baleChatID}")),
    "Feishu": Provider(
        hooked(r"https://open\.feishu\.cn/open-apis/bot/v2/hook/([\w-]+)/?", "feishu://{}"),
        {"url": "feishuWebHookUrl"},
    ),
    "WeCom": Provider(spelled("wecombot://{weComBotKey!}")),
    "stackfield": Provider(
        hooked(r"https://www\.stackfield\.com/apiwh/([\w-]+)/?", "stackfield://{}"),
        {"url": "stackfieldwebhookURL"},
    ),
    # Telephones
    "ntfy": Provider(
        services.ntfy,
        {
            "server": "ntfyserverurl",
            "topic": "ntfytopic",
            "token": "ntfyaccesstoken",
            "user": "ntfyusername",
            "password": "ntfypassword",
        },
    ),
    "gotify": Provider(
        on_server("gotify", "/{gotifyapplicationToken!}", path=True), {"server": "gotifyserverurl"}
    ),
    "pushover": Provider(
        services.pushover,
        {"user": "pushoveruserkey", "token": "pushoverapptoken", "device": "pushoverdevice"},
    ),
    "Bark": Provider(
        hooked(r"https://([^/?#@\s]+)/([^/?#\s]+)/?", "barks://{}/{}"), {"url": "barkEndpoint"}
    ),
    "HomeAssistant": Provider(
        on_server("hassio", "/{longLivedAccessToken!}/notify.{notificationService}"),
        {"server": "homeAssistantUrl"},
    ),
    "pushbullet": Provider(spelled("pbul://{pushbulletAccessToken!}")),
    "PushDeer": Provider(
        on_server("pushdeer", "/{pushdeerKey!}", "https://api2.pushdeer.com"),
        {"server": "pushdeerServer"},
    ),
    "PushPlus": Provider(spelled("pushplus://{pushPlusSendKey!}")),
    "pushy": Provider(spelled("pushy://{pushyAPIKey!}/{pushyToken!}")),
    "PushByTechulus": Provider(spelled("push://{pushAPIKey!}")),
    "ServerChan": Provider(spelled("schan://{serverChanSendKey!}")),
    # On-call
    "Opsgenie": Provider(
        services.opsgenie,
        {"key": "opsgenieApiKey", "region": "opsgenieRegion", "priority": "opsgeniePriority"},
        UNCLOSED,
    ),
    "squadcast": Provider(services.squadcast, {"url": "squadcastWebhookURL"}, UNCLOSED),
    "SIGNL4": Provider(
        hooked(r"https://connect\.signl4\.com/webhook/([\w-]+)/?", "signl4://{}"),
        {"url": "webhookURL"},
        UNCLOSED,
    ),
    "GoAlert": Provider(
        on_server("goalert", "/{goAlertToken!}", path=True), {"server": "goAlertBaseURL"}, UNCLOSED
    ),
    # Mail and short messages
    "smtp": Provider(
        services.email,
        {
            "host": "smtpHost",
            "port": "smtpPort",
            "from": "smtpFrom",
            "to": "smtpTo",
            "cc": "smtpCC",
            "bcc": "smtpBCC",
            "user": "smtpUsername",
            "password": "smtpPassword",
            "wrapped": "smtpSecure",
            "plain": "smtpIgnoreSTARTTLS",
            "unverified": "smtpIgnoreTLSError",
        },
    ),
    "SendGrid": Provider(
        spelled("sendgrid://{sendgridApiKey!}:{sendgridFromEmail}/{sendgridToEmail*}")
    ),
    "Resend": Provider(spelled("resend://{resendApiKey!}:{resendFromEmail}/{resendToEmail*}")),
    "Brevo": Provider(spelled("brevo://{brevoApiKey!}:{brevoFromEmail}/{brevoToEmail*}")),
    "twilio": Provider(services.twilio, {"key": "twilioApiKey"}),
    "telnyx": Provider(spelled("telnyx://{telnyxApiKey!}@{telnyxPhoneNumber}/{telnyxToNumber*}")),
    "threema": Provider(
        spelled("threema://{threemaSenderIdentity}@{threemaSecret!}/{threemaRecipient}")
    ),
    "clicksendsms": Provider(
        spelled("clicksend://{clicksendsmsLogin}:{clicksendsmsPassword!}@{clicksendsmsToNumber}")
    ),
    "Elks": Provider(
        spelled("elks://{elksUsername}:{elksAuthToken!}@{elksFromNumber}/{elksToNumber*}")
    ),
    "FreeMobile": Provider(spelled("freemobile://{freemobileUser}@{freemobilePass!}")),
    "SevenIO": Provider(spelled("seven://{sevenioApiKey!}/{sevenioReceiver*}")),
    # Whatever there is
    "apprise": Provider(services.given, {"url": "appriseURL"}),
    "webhook": Provider(
        services.webhook,
        {
            "url": "webhookURL",
            "method": "httpMethod",
            "body": "webhookContentType",
            "headers": "webhookAdditionalHeaders",
        },
        "it gets Alertmanager's body, so what reads it has to change",
    ),
}
"""How each becomes a receiver, and the names of its settings in Uptime Kuma 1.23 to 2.5."""
_BY_OTHER_SETTINGS = {
    "DingDing": "dingtalk", "Kook": "kook", "OneBot": "onebot", "SMSEagle": "smseagle",
    "SMSManager": "smsmgr", "SpugPush": "spugpush", "WPush": "wpush", "WxPusher": "wxpusher",
    "ZohoCliq": "cliq", "evolution": "evolution", "fluxer": "fluxer", "gorush": "gorush",
    "nostr": "nostr", "octopush": "octopush", "pinglet": "pinglet", "plivo": "plivo",
    "serwersms": "serwersms", "smsc": "smsc", "whapi": "whapi", "Webpush": "vapid",
}  # fmt: skip
"""Services for which apprise has another name."""
_INCIDENTS = (
    *("AlertNow", "FlashDuty", "Flowtriq", "GrafanaOncall", "HeiiOnCall", "JiraServiceManagement"),
    *("Keep", "PagerTree", "Splunk", "alerta"),
)
_UNKNOWN_TO_APPRISE = (
    *("AliyunSMS", "Bitrix24", "CallMeBot", "Cellsynt", "ClickUp", "GoogleSheets", "HaloPSA"),
    *("Milky", "OneChat", "Onesender", "Ooredoo", "SMSGateway", "SMSPartner", "SMSPlanet"),
    *("Teltonika", "TurboSMTP", "VK", "VKTeams", "Whatsapp360messenger", "YZJ", "bearsms"),
    *("egosms", "gtxmessaging", "lunasea", "max", "notifery", "openwa", "promosms", "pumble"),
    *("smsir", "waha"),
)
_WHY_NOT: Mapping[str, str] = {
    **{
        kind: f"apprise sends by {name}://, but asks for other settings"
        for kind, name in _BY_OTHER_SETTINGS.items()
    },
    **dict.fromkeys(
        _INCIDENTS, "it opens and closes incidents; reach it from Alertmanager, or by a webhook"
    ),
    **dict.fromkeys(_UNKNOWN_TO_APPRISE, "apprise does not know the service; a webhook may do"),
    "PagerDuty": "apprise's pagerduty://INTEGRATION_KEY@API_KEY needs an API key too;"
    " Alertmanager does not",
    "LineNotify": "LINE Notify has ended; LINE's Messaging API is line:// of apprise",
}
_OF_EVERY = frozenset({"name", "type", "id", "userId", "active", "applyExisting"})
_DEFAULTS = {"notificationService": "notify"}


class Notifications:
    """
    The notifications of a database as receivers of a list.

    Attributes:
        names: Of the notifications, by their numbers.
        receivers: Names of the receivers, by the numbers of their notifications.
    """

    def __init__(self, whole: ListDraft, rows: list[dict[str, Any]]) -> None:
        self.names: dict[int, str] = {}
        self.receivers: dict[int, str] = {}
        self._made = Receivers(whole, {}, PROVIDERS, _why_not, "Uptime Kuma")
        self._whole = whole
        for row in rows:
            self._read(row)

    @property
    def ordered(self) -> list[str]:
        """Names of the receivers, in the order of the list."""
        return self._made.names

    def _read(self, row: Mapping[str, Any]) -> None:
        number = int(row["id"])
        config = _config(row.get("config"))
        name = str(row.get("name") or (config or {}).get("name") or number)
        self.names[number] = name
        path = f"notification {name}"
        if config is None:
            why = "its settings are not a JSON object; add a receiver to notify.receivers"
            self._whole.dropped(path, why)
            return
        kind = config["type"] if isinstance(config.get("type"), str) else ""
        values = {**_DEFAULTS, **config}
        if kind == "ntfy":
            values = _ntfy(values)
        told = [key for key, value in config.items() if _is_chosen(key, value)]
        found = self._made.add(name, kind, values, told, self._whole, path)
        if config.get("isDefault"):
            why = "a new site has the receivers of defaults.notify"
            self._whole.dropped(f"{path}.isDefault", why, quiet=True)
        if found is not None:
            self.receivers[number] = found


def _config(text: Any) -> dict[str, Any] | None:
    """Return the settings of a notification, stored as JSON; None if they are not JSON."""
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def _is_chosen(key: str, value: Any) -> bool:
    return key not in _OF_EVERY and key != "isDefault" and value not in (None, "", False, [], {})


def _ntfy(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ntfy without the logins that are stored but not used."""
    used = {
        "usernamePassword": ("ntfyusername", "ntfypassword"),
        "accessToken": ("ntfyaccesstoken",),
    }.get(str(values.get("ntfyAuthenticationMethod")), ())
    logins = {"ntfyusername", "ntfypassword", "ntfyaccesstoken"}.difference(used)
    return {key: value for key, value in values.items() if key not in logins}


def _why_not(kind: str) -> str:
    known = _WHY_NOT.get(kind, "Uptime Kuma 2.5 has no such type")
    return f"{kind or 'no type'}: {known}"
