"""
Wires messages: the outbox, its receivers, the heartbeat; part of the composition root.

A daemon whose configuration has no ``notify`` loads nothing of ``monitor.messages``.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Overdue
from threading import Event, Thread
from typing import TYPE_CHECKING

from monitor.app.gentle import interruptibly
from monitor.app.keeping import HubMemory, Oblivion
from monitor.app.sharding import Shard
from monitor.board import StatusBoard
from monitor.clock import SystemClock
from monitor.config.load import Config
from monitor.logs import fields
from monitor.metrics.internal import Internal
from monitor.model import Past, Site, SiteState
from monitor.notify import ChannelState, HeartbeatOptions, NotifyOptions, ReceiverOptions
from monitor.options import OptionError
from monitor.past import History, Span
from monitor.probes.client import Client
from monitor.secrecy import longest_first
from monitor.units import Seconds, Timestamp

if TYPE_CHECKING:
    from monitor.app.memory import Memory
    from monitor.messages.notification import ChannelSender
    from monitor.messages.outbox import Outbox

_log = logging.getLogger(__name__)

_FAREWELL: Seconds = 1.0
"""How long a stop waits for the grouping thread, which itself never waits."""
_LOOP: Seconds = 5.0
"""How soon the main thread must answer before a heartbeat is sent."""


def check_receiver(options: ReceiverOptions) -> None:
    """
    Accept a receiver that messages can be sent to; apprise decides about its own URLs.

    Raises:
        OptionError: The receiver cannot be used.
    """
    if options.apprise is None:
        return
    from monitor.messages.receivers.apprise import obstacle  # noqa: PLC0415  see above

    why = obstacle(options.apprise)
    if why is not None:
        raise OptionError(("apprise",), why)


class Voice:
    """
    Records what the engine reports, and sends people messages about it.

    Args:
        memory: Remembers states and keeps messages still to be sent; None if nothing is kept. It
            starts and stops with this object.
        seat: The name of this daemon among those that share the store.
        mute: Whether it only records: places leave it to the hub to send messages.
        ping: Asks the main thread for a sign of life.
    """

    def __init__(
        self,
        memory: "Memory | None",
        *,
        board: StatusBoard,
        internal: Internal,
        shard: Shard,
        seat: str,
        mute: bool,
        ping: "Callable[[], Future[None]]",
    ) -> None:
        self._memory = memory
        self._recorder: HubMemory = memory.recorder if memory else Oblivion()
        self._writer = memory.recorder if memory else None
        self._board = board
        self._internal = internal
        self._shard = shard
        self._seat = seat
        self._mute = mute
        self._ping = ping
        self._clock = SystemClock()
        self._outbox: Outbox | None = None
        self._heart: _Heart | None = None
        self._beats: HeartbeatOptions | None = None
        self._secrets: tuple[str, ...] = ()
        internal.notifications_from(self.channels)

    # ------------------------------------------------------------ the engine's recorder

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        # The memory first: after a restart, the daemon must know what it has told people
        self._recorder.noted(state, time, checked=checked)
        if self._outbox is not None:
            self._outbox.noted(state)

    def left(self, names: Iterable[str], time: Timestamp) -> None:
        gone = tuple(names)
        self._recorder.left(gone, time)
        if self._outbox is not None:
            self._outbox.left(gone)

    def renamed(self, old: str, new: str) -> None:
        self._recorder.renamed(old, new)
        if self._outbox is not None:
            self._outbox.renamed(old, new)

    def late(self, site: Site, past: Past) -> None:
        self._recorder.late(site, past)

    def mended(self, spans: Sequence[Span]) -> None:
        self._recorder.mended(spans)

    def position(self, partition: int, sequence: int) -> None:
        self._recorder.position(partition, sequence)

    # ------------------------------------------------------------ the reloader's thread

    def start(self, config: Config) -> None:
        """Start what the first configuration requires, before its sites are checked."""
        if self._memory is not None:
            self._memory.start()
        self._secrets = longest_first(config.secrets())
        notify = self._wanted(config)
        if notify != NotifyOptions():
            self._start(notify)

    def listed(self, config: Config) -> None:
        """Record that the engine has received the sites of a configuration."""
        self._secrets = longest_first(config.secrets())
        notify = self._wanted(config)
        if self._outbox is None and notify != NotifyOptions():
            self._start(notify)
            assert self._outbox is not None  # noqa: S101  which starts it
            for entry in self._board.entries():
                self._outbox.known(entry.state)
        elif self._outbox is not None:
            self._outbox.configure(notify)
        if self._outbox is not None:
            self._outbox.listed()
        if notify.heartbeat != self._beats:
            self._beats = notify.heartbeat
            if self._heart is not None:
                self._heart.end()
            self._heart = self._new_heart(notify.heartbeat) if notify.heartbeat else None

    def stop(self) -> None:
        """Begin no more messages; unfinished ones are in the store, which is written last."""
        if self._heart is not None:
            self._heart.end()
        if self._outbox is not None:
            self._outbox.stop(_FAREWELL)
        if self._memory is not None:
            self._memory.stop()

    def _wanted(self, config: Config) -> NotifyOptions:
        return NotifyOptions() if self._mute else config.settings.notify

    def _start(self, notify: NotifyOptions) -> None:
        from monitor.messages.outbox import Outbox  # noqa: PLC0415  see above

        outbox = Outbox(
            senders=self._senders,
            store=self._writer,
            clock=self._clock,
            meters=self._internal,
            seat=self._seat,
            is_ours=self._shard.owns,
            gently=interruptibly,
        )
        outbox.start(notify)
        self._outbox = outbox

    def _senders(self, receiver: ReceiverOptions) -> "dict[str, ChannelSender]":
        from monitor.messages.receivers import build_senders  # noqa: PLC0415  see above

        return build_senders(receiver, Client(), self._clock, self._secrets)

    # ------------------------------------------------------------ the heartbeat

    def _new_heart(self, options: HeartbeatOptions) -> "_Heart":
        return _Heart(options, self._trouble)

    def _trouble(self) -> str | None:
        try:
            self._ping().result(_LOOP)
        except Overdue:
            return f"the main thread did not answer within {_LOOP:g}s"
        if self._writer is not None and not self._writer.persistent:
            return "the history cannot be written"
        return self._outbox.trouble() if self._outbox is not None else None

    # ------------------------------------------------------------ pages and commands

    @property
    def history(self) -> History | None:
        return self._memory.reader if self._memory is not None else None

    def channels(self) -> Sequence[ChannelState]:
        return self._outbox.channels() if self._outbox is not None else ()

    def retry(self, receiver: str | None) -> bool:
        if self._outbox is None:
            return receiver is None
        return self._outbox.retry(receiver)


class _Heart:
    """The thread of the heartbeat."""

    def __init__(self, options: HeartbeatOptions, trouble: Callable[[], str | None]) -> None:
        from monitor.messages.receivers.heartbeat import Heartbeat  # noqa: PLC0415  see above

        self._clock = SystemClock()
        self._heartbeat = Heartbeat(options, Client(), self._clock, trouble)
        self._ended = Event()
        self._thread = Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Begin no more requests; a running one is not waited for."""
        self._ended.set()

    def _run(self) -> None:
        failing = False
        while True:
            wait = max(0.0, self._heartbeat.next_at - self._clock.monotonic())
            if self._ended.wait(wait):
                return
            try:
                problem = self._heartbeat.beat()
            except Exception as error:
                _log.exception("heartbeat_fault")
                problem = f"internal error ({type(error).__name__})"
            if problem is not None and not failing:
                _log.warning("heartbeat_failing", extra=fields(detail=problem))
            elif problem is None and failing:
                _log.info("heartbeat_recovered")
            failing = problem is not None
