"""What receivers over HTTP have in common: the request, and the meaning of the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from monitor.clock import Clock, Deadline
from monitor.errors import ProbeError
from monitor.messages.notification import Alert, DeliveryOutcome
from monitor.model import Failure
from monitor.notify import ReceiverOptions
from monitor.outbound import Caller, OutgoingRequest, Reply
from monitor.secrecy import (
    basic_credentials,
    credentials,
    every_form,
    header_credentials,
    is_sensitive_header,
    parts_of_url,
    redact,
)
from monitor.units import Seconds, Timestamp

_LONGEST_RETRY_AFTER: Seconds = 3600.0
"""A receiver that asks for more is retried after an hour: a wrong date is more likely."""
_LASTING = {400, 410, 413, 414, 415, 422, 431}
"""Client errors about this message, or permanent; others end when the receiver is fixed."""
_LONGEST_EXCERPT = 200  # characters


class Delivery:
    """Posts to one receiver over HTTP, and returns the outcome without showing a secret."""

    def __init__(
        self,
        options: ReceiverOptions,
        url: str,
        call: Caller,
        clock: Clock,
        secrets: Iterable[str] = (),
    ) -> None:
        """
        Begin with nothing sent.

        Args:
            options: Its login, headers, TLS and proxy.
            url: The URL to post messages to.
            secrets: What must not be shown, in every form, besides the receiver's own secrets.
        """
        login = _login(options)
        self._call = call
        self._clock = clock
        self._template = OutgoingRequest(
            url=url,
            headers={**login, **options.headers},
            tls=options.tls,
            proxy=options.proxy,
        )
        self._secrets = every_form([*secrets, *_secrets(options, url, login)])
        self._shown = _address(url)

    def post(
        self, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> tuple[DeliveryOutcome, Reply | None]:
        """Post a JSON text; return the outcome, and the answer if there is one."""
        headers = {"Content-Type": "application/json", **headers, **self._template.headers}
        try:
            reply = self._call(replace(self._template, headers=headers, body=body), deadline)
        except ProbeError as error:  # this machine lacks something, such as file descriptors
            return self.failed(str(error)), None
        if isinstance(reply, Failure):
            return self.failed(reply.message), None
        return self._judged(reply), reply

    def failed(self, detail: str) -> DeliveryOutcome:
        """Return the outcome of an attempt without an answer."""
        return DeliveryOutcome(delivered=False, detail=self.masked(detail))

    def masked(self, text: str) -> str:
        return redact(text, self._secrets)

    def _judged(self, reply: Reply) -> DeliveryOutcome:
        status = reply.status
        if 200 <= status < 300:  # noqa: PLR2004  success (RFC 9110, 15.3)
            return DeliveryOutcome(
                delivered=True, detail=f"{self._shown} took it (status {status})"
            )
        if 300 <= status < 400:  # noqa: PLR2004  redirection (RFC 9110, 15.4)
            detail = (
                f"{self._shown} answered with a redirect (status {status}), which is not followed;"
                " name the URL it leads to"
            )
            return DeliveryOutcome(delivered=False, answered=True, detail=detail)
        detail = f"{self._shown} answered with status {status}{self._excerpt(reply)}"
        return DeliveryOutcome(
            delivered=False,
            lasting=status in _LASTING,
            answered=True,
            retry_after=_retry_after(reply.headers.get("retry-after", ""), self._clock),
            detail=detail,
        )

    def _excerpt(self, reply: Reply) -> str:
        """Return the beginning of an answer's text in one line; nothing of a page."""
        text = reply.body.decode(errors="replace").strip()
        if not text or text.startswith("<"):
            return ""
        # Masked before it is cut: otherwise half a secret could stay at the end
        text = self.masked(text)
        line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        cut = line[:_LONGEST_EXCERPT]
        return f": {cut}…" if cut != line else f": {cut}"


def common(alerts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return what all of these mappings have in common."""
    found: dict[str, str] | None = None
    for one in alerts:
        items = one.items()
        found = dict(items) if found is None else dict(found.items() & items)
    return dict(sorted((found or {}).items()))


def labels_of(alert: Alert) -> dict[str, str]:
    """Return an alert's labels; to Prometheus an empty one does not exist."""
    return {name: value for name, value in alert.labels.items() if value}


def rfc3339(moment: Timestamp) -> str:
    return (
        datetime.fromtimestamp(moment, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _login(options: ReceiverOptions) -> dict[str, str]:
    if options.basic_auth:
        login = options.basic_auth
        return {"Authorization": f"Basic {basic_credentials(login.username, login.password)[0]}"}
    if options.bearer_token is not None:
        return {"Authorization": f"Bearer {options.bearer_token}"}
    return {}


def _secrets(options: ReceiverOptions, url: str, login: Mapping[str, str]) -> Iterable[str]:
    for name, value in {**login, **options.headers}.items():
        if is_sensitive_header(name):
            yield from header_credentials(value)
    if options.basic_auth:
        yield options.basic_auth.password
        yield from options.basic_auth.sent_secrets()
    if options.webhook:
        yield url
        yield from filter(None, [options.webhook.secret])
        yield from parts_of_url(url)  # many hooks are secret by their address
    yield from credentials(url)
    if options.proxy:
        yield options.proxy
        yield from credentials(options.proxy)


def _address(url: str) -> str:
    """Return the host and port of a URL, which may be shown."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _retry_after(value: str, clock: Clock) -> Seconds | None:
    """Return the time in a Retry-After, given in seconds or as a date (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(moment - clock.time(), 0.0), _LONGEST_RETRY_AFTER)
