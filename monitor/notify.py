"""The options of receivers: who is notified when a site goes down."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from monitor.grammar import check_url
from monitor.options import Duration, Parsed, Secret, duration, option
from monitor.outbound import Credentials, Proxy, TlsOptions, check_header
from monitor.units import Bytes, Seconds, Timestamp

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_APPRISE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SHORTEST_HEARTBEAT: Seconds = 10.0
_SHORTEST_TIMEOUT: Seconds = 1.0
_LONGEST_TIMEOUT: Seconds = 300.0
_LEAST_KEY: Bytes = 16
_BASE64 = "whsec_"
"""The prefix with which Standard Webhooks marks a secret that is a Base64 key."""


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name such as oncall; write letters, digits and any of . _ -"
        )
    return value


def _check_url(key: str, url: str, example: str) -> None:
    """
    Accept an http or https URL.

    Raises:
        ValueError: It is not one; the message does not quote it, because it may hold a secret.
    """
    try:
        check_url(url, ("http", "https"), f"an http or https URL, such as {example}")
    except ValueError as error:
        raise ValueError(f"{key} {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    url: Secret = option(doc="Where the message is posted, an http or https URL; never shown.")
    secret: Secret | None = option(
        None,
        doc="A key of at least 16 bytes, in Base64 after whsec_ or as it stands, by which each"
        " message is signed (HMAC-SHA256), so that the receiver knows who sent it.",
    )

    def __post_init__(self) -> None:
        _check_url("url", self.url, "https://hooks.example.com/monitor")
        key = self.signing_key()
        if key is not None and len(key) < _LEAST_KEY:
            raise ValueError(f"secret must be a key of at least {_LEAST_KEY} bytes")

    def signing_key(self) -> bytes | None:
        """
        Return the key with which messages are signed; None if they are not.

        Raises:
            ValueError: What follows ``whsec_`` in the secret is not Base64.
        """
        if self.secret is None:
            return None
        if not self.secret.startswith(_BASE64):
            return self.secret.encode()
        try:
            return b64decode(self.secret.removeprefix(_BASE64), validate=True)
        except ValueError:
            raise ValueError(f"secret begins with {_BASE64}, but its rest is not Base64") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverOptions:
    """One receiver of messages: an Alertmanager, a webhook, or one of apprise's services."""

    name: Annotated[str, Parsed(_name, {"type": "string", "pattern": f"^{_NAME.pattern}$"})] = (
        option(doc="What sites, logs, metrics and commands call it.")
    )
    alertmanager: tuple[str, ...] = option(
        (), doc="URLs of Alertmanagers; each of them gets every alert, as from Prometheus."
    )
    webhook: WebhookOptions | None = option(
        None, doc="A URL that gets Alertmanager's webhook messages, version 4."
    )
    apprise: Secret | None = option(
        None, doc="One of apprise's URLs, for chat, mail or text messages; never shown."
    )
    labels: Mapping[str, str] = option(
        factory=dict,
        doc="Of an Alertmanager: labels that each alert gets, such as the job and instance that"
        " Prometheus gives the monitor.",
    )
    headers: Mapping[str, str] = option(
        factory=dict, doc="Of an Alertmanager or webhook: headers to send, by name."
    )
    basic_auth: Credentials | None = option(
        None, doc="Of an Alertmanager or webhook: log in by basic authentication."
    )
    bearer_token: Secret | None = option(
        None, doc="Of an Alertmanager or webhook: log in by this token."
    )
    tls: TlsOptions = option(TlsOptions(), doc="Of an Alertmanager or webhook: as a site's tls.")
    proxy: Secret | None = option(
        None, doc="Of an Alertmanager or webhook: URL of a proxy, as a site's http.proxy."
    )
    timeout: Annotated[Seconds, duration(_SHORTEST_TIMEOUT, _LONGEST_TIMEOUT)] = option(
        10.0, doc="How long one attempt to deliver may take."
    )

    def __post_init__(self) -> None:
        kinds = {
            "alertmanager": self.alertmanager,
            "webhook": self.webhook,
            "apprise": self.apprise,
        }
        given = [name for name, value in kinds.items() if value]
        if not given:
            raise ValueError(f"needs one of {', '.join(kinds)}, which says what it is")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot be used together; list two receivers")
        self._check_kind(given[0])
        for name, value in self.headers.items():
            check_header(name, value)
        if self.bearer_token is not None:
            check_header("bearer_token", self.bearer_token)
        logins = [name for name in self.headers if name.lower() == "authorization"]
        logins += [name for name in ("basic_auth", "bearer_token") if getattr(self, name)]
        if len(logins) > 1:
            raise ValueError(f"{' and '.join(logins)} cannot be used together")
        if self.proxy is not None:
            Proxy.parse(self.proxy)

    def _check_kind(self, kind: str) -> None:
        if kind == "apprise":
            self._check_apprise()
        elif kind == "alertmanager":
            self._check_alertmanager()
        if kind != "alertmanager" and self.labels:
            raise ValueError("labels are only for an Alertmanager")

    def _check_alertmanager(self) -> None:
        for url in self.alertmanager:
            _check_url("alertmanager", url, "http://alertmanager:9093")
            if urlsplit(url).query or urlsplit(url).fragment:
                raise ValueError(
                    "alertmanager must be URLs without ? and #; the API's path is added"
                )
        if len(set(self.channels())) != len(self.channels()):
            raise ValueError("alertmanager lists one address twice")
        for name in self.labels:
            if not _LABEL.fullmatch(name):
                raise ValueError(
                    f"labels has {name!r}, which is not a label's name; write letters, digits and _"
                )

    def _check_apprise(self) -> None:
        if not _APPRISE.fullmatch(self.apprise or ""):
            raise ValueError("apprise must be one of apprise's URLs, such as mailto://…")
        if find_spec("apprise") is None:
            raise ValueError(
                "apprise needs an extra package; install it by: pip install"
                " 'website-monitor[apprise]'"
            )
        for key in ("headers", "basic_auth", "bearer_token", "proxy"):
            if getattr(self, key):
                raise ValueError(f"{key} is not for apprise, whose URL says everything")
        if self.tls != TlsOptions():
            raise ValueError("tls is not for apprise, whose URL says everything")

    @property
    def kind(self) -> str:
        if self.alertmanager:
            return "alertmanager"
        return "webhook" if self.webhook else "apprise"

    def channels(self) -> tuple[str, ...]:
        """
        Return the names of the addresses to send to; each has its own queue in the outbox.

        Each address of an Alertmanager is a channel, ``am/am-0:9093``; any other receiver is one
        channel with the receiver's name.
        """
        if not self.alertmanager:
            return (self.name,)
        return tuple(f"{self.name}/{_address(url)}" for url in self.alertmanager)


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatOptions:
    """A URL that is requested as long as the monitor works, so that its silence is noticed."""

    url: Secret = option(doc="What is requested, an http or https URL; never shown.")
    interval: Annotated[Seconds, duration(_SHORTEST_HEARTBEAT)] = option(
        60.0, doc="From one request to the next."
    )
    tls: TlsOptions = option(TlsOptions(), doc="As a site's tls.")
    proxy: Secret | None = option(None, doc="URL of a proxy, as a site's http.proxy.")

    def __post_init__(self) -> None:
        _check_url("url", self.url, "https://hc-ping.com/UUID")
        if self.proxy is not None:
            Proxy.parse(self.proxy)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOptions:
    """Who gets messages about outages, and how many; the terms are Alertmanager's."""

    group_by: tuple[str, ...] = option(
        (),
        doc="Labels such as group or alertname: alerts with the same values come in one message."
        " By default all alerts come in one message; with ... each has its own.",
    )
    group_wait: Duration = option(
        30.0, doc="How long the first message about a group waits for more alerts of the group."
    )
    group_interval: Duration = option(
        300.0, doc="The least time between two messages about a group, if there is news."
    )
    repeat_interval: Duration = option(
        14400.0, doc="When the message about a site that is still down is repeated."
    )
    receivers: tuple[ReceiverOptions, ...] = option(
        (), doc="Who gets messages; a site can name some of them under its notify."
    )
    heartbeat: HeartbeatOptions | None = option(
        None, doc="A URL that is requested as long as the monitor works."
    )

    def __post_init__(self) -> None:
        names = [receiver.name for receiver in self.receivers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"receivers has two that are called {name!r}; rename one")
        for label in self.group_by:
            if label != "..." and not _LABEL.fullmatch(label):
                raise ValueError(f"group_by has {label!r}, which is not a label's name")
        if not 0 < self.group_interval <= self.repeat_interval:
            raise ValueError("group_interval must be more than 0s, and at most repeat_interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """
    The current state of one channel.

    Attributes:
        channel: A receiver's name; for an Alertmanager, with the address of one instance.
        waiting: How many messages wait for it.
        oldest: Since when the oldest of them has waited.
        failing_since: Since when no attempt has succeeded; None while it works.
        next_try: When the next attempt is due; None if none is due, or one is running.
        answered: When the last attempt ended; None before the first since the daemon started.
        delivered: Whether that attempt succeeded.
        answer: Its outcome, as a sentence; secrets are masked.
    """

    channel: str
    receiver: str
    kind: str
    waiting: int = 0
    oldest: Timestamp | None = None
    failing_since: Timestamp | None = None
    next_try: Timestamp | None = None
    answered: Timestamp | None = None
    delivered: bool | None = None
    answer: str = ""


class WaitingMessages(Protocol):
    """What pages, the API and commands need to know about waiting messages; for any thread."""

    def channels(self) -> Sequence[ChannelState]: ...

    def retry(self, receiver: str | None) -> bool:
        """
        Try to deliver the waiting messages at once, of one receiver or of all.

        Returns:
            Whether there is such a receiver.
        """
