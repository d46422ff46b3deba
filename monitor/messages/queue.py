"""
The messages that wait for one channel: which is tried next, and when. Pure.

A channel that cannot be reached is retried with growing pauses. If it answers and refuses, one
message may be at fault: the others are tried in turn, and if they arrive, that one waits behind.
"""

from dataclasses import dataclass, field

from monitor.messages.topic import Channel, Pending
from monitor.model import Seconds, Timestamp

PAUSES: tuple[Seconds, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Pauses between attempts at a channel; the last one repeats."""
LONGEST_PAUSE: Seconds = 3600.0
"""The longest pause, however long a receiver asks to wait."""
_SUSPICIOUS = 3
"""After this many refusals, another message than the oldest is tried."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """The state of one channel."""

    waiting: int
    oldest: Timestamp | None
    failing_since: Timestamp | None
    next_try: Timestamp | None


@dataclass(slots=True)
class ChannelQueue:
    """
    The messages that wait for one channel.

    Attributes:
        waiting: The messages by their keys.
        busy: The key of the message that is being sent.
        failures: Attempts that failed since the last message arrived.
        answered: Consecutive attempts since then that the receiver answered with an error.
        failing_since: When the first of these failures was.
        next_try: Nothing is sent before this moment.
    """

    channel: Channel
    waiting: dict[str, Pending] = field(default_factory=dict)
    busy: str | None = None
    failures: int = 0
    answered: int = 0
    failing_since: Timestamp | None = None
    next_try: Timestamp = 0.0

    @property
    def due_at(self) -> Timestamp | None:
        """When the next message may be sent; None if none waits, or one is being sent."""
        return self.next_try if self.waiting and self.busy is None else None

    def first(self) -> Pending:
        """Return the message to try: the oldest, unless it may be the one at fault."""
        waiting = sorted(self.waiting.values(), key=lambda one: (one.behind, one.born))
        if len(waiting) > 1 and self.answered >= _SUSPICIOUS and self.answered % 2:
            return waiting[1 + self.answered // 2 % (len(waiting) - 1)]
        return waiting[0]

    def arrived(self, now: Timestamp) -> None:
        """Record that the channel has taken a message, which no longer waits."""
        self.busy, self.failures, self.answered, self.failing_since = None, 0, 0, None
        self.next_try = now
        for one in self.waiting.values():
            # Others arrive, so this message is at fault, not the channel
            one.behind |= one.attempts >= _SUSPICIOUS

    def failed(self, now: Timestamp, *, answered: bool, retry_after: Seconds | None) -> None:
        """Record that an attempt failed, and pause."""
        pause = PAUSES[min(self.failures, len(PAUSES) - 1)]
        if retry_after is not None:
            pause = max(pause, min(retry_after, LONGEST_PAUSE))
        self.failures += 1
        self.answered = self.answered + 1 if answered else 0
        self.next_try = now + pause
        if self.failing_since is None:
            self.failing_since = now

    def restore(self, pending: Pending) -> None:
        """Restore a message from before the daemon's restart."""
        self.waiting[pending.key] = pending
        if pending.attempts and self.failing_since is None:
            self.failing_since = pending.born

    def set_back(self, now: Timestamp) -> None:
        """Handle a clock that was set back: nothing may be in its future."""
        self.next_try = min(self.next_try, now)
        for pending in self.waiting.values():
            pending.born = min(pending.born, now)

    def state(self) -> QueueState:
        return QueueState(
            waiting=len(self.waiting),
            oldest=min((one.born for one in self.waiting.values()), default=None),
            failing_since=self.failing_since,
            next_try=self.due_at,
        )
