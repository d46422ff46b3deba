"""The receivers of messages: one table of the senders for each kind."""

from collections.abc import Iterable

from monitor.clock import Clock
from monitor.messages.notification import ChannelSender
from monitor.messages.receivers.alertmanager import AlertmanagerSender
from monitor.messages.receivers.apprise import AppriseSender
from monitor.messages.receivers.webhook import WebhookSender
from monitor.notify import ReceiverOptions
from monitor.outbound import Caller


def build_senders(
    options: ReceiverOptions, call: Caller, clock: Clock, secrets: Iterable[str] = ()
) -> dict[str, ChannelSender]:
    """
    Return the senders of a receiver by the names of its channels.

    Args:
        secrets: What must not be shown, in every form, besides the receiver's own secrets.
    """
    if options.webhook:
        return {options.name: WebhookSender(options, options.webhook, call, clock, secrets)}
    if options.apprise:
        return {options.name: AppriseSender(options.apprise, secrets)}
    urls = zip(options.channels(), options.alertmanager, strict=True)
    return {
        channel: AlertmanagerSender(options, url, call, clock, secrets) for channel, url in urls
    }
