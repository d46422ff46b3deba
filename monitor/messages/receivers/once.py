"""The base of senders whose receivers are told once."""

from collections.abc import Iterable

from monitor.messages.notification import Alert, DeliveryOutcome
from monitor.units import Seconds


class ToldOnce:
    """A sender whose receiver remembers what it was told, and leaves grouping to the monitor."""

    groups = False

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Do nothing: the receiver knows."""

    def next_refresh(self) -> Seconds | None:
        return None

    def refresh(self, timeout: Seconds) -> DeliveryOutcome:
        """Do nothing."""
        del timeout
        return DeliveryOutcome(delivered=True, detail="nothing needs to be told again")

    def close(self) -> None:
        """Do nothing: each message has its own connection."""
