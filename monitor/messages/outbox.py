"""
The threads of messages: one that groups, and one for each channel, which sends.

The main thread passes sights with one put. Only the grouping thread uses the router; it writes
messages into the store before anything is sent, and records when they are delivered. A channel that
hangs blocks only its own thread. When the daemon stops, nothing here is waited for: unfinished
messages are in the store, and the restarted daemon continues with them under the same key.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol, TypeAlias

from monitor.clock import Clock
from monitor.logs import fields
from monitor.messages.notification import Alert, ChannelSender, DeliveryOutcome, Notification
from monitor.messages.route import Router
from monitor.messages.sight import Sight, sight_of
from monitor.messages.topic import Channel, RowKey
from monitor.model import Seconds, SiteState, Timestamp
from monitor.notify import ChannelState, NotifyOptions, ReceiverOptions
from monitor.past import Owed

_log = logging.getLogger(__name__)

_PATIENCE: Seconds = 5.0
"""How long to wait for the store; after that, a message is sent before it is stored."""
_RESTORE: Seconds = 60.0
"""How long a start waits for the stored messages."""
_LONGEST_WAIT: Seconds = 30.0
"""The longest sleep before the clock is read again, because it may have been set."""
_SET_BACK: Seconds = 1.0
_AFTER_FAULT: Seconds = 1.0


class Store(Protocol):
    """Keeps messages still to be sent; see history.Writer for what each member promises."""

    def keep(self, rows: Mapping[RowKey, bytes | None]) -> "Future[bool]": ...
    def owed(self) -> "Future[list[Owed]]": ...
    def on_loss(self, call: Callable[[], None]) -> None: ...


class MessageMeters(Protocol):
    """Counts messages; called in the grouping thread."""

    def notified(self, receiver: str, outcome: str) -> None: ...
    def channels(self, names: Iterable[str]) -> None: ...


SenderFactory: TypeAlias = Callable[[ReceiverOptions], Mapping[str, ChannelSender]]


@dataclass(frozen=True, slots=True)
class _SitesLeft:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _SiteRenamed:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Configured:
    settings: NotifyOptions


@dataclass(frozen=True, slots=True)
class _Listed:
    """All sites of the list have been seen."""


@dataclass(frozen=True, slots=True)
class _Answered:
    channel: str
    key: str
    outcome: DeliveryOutcome


@dataclass(frozen=True, slots=True)
class _Retry:
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Lost:
    """The store has lost its content."""


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Event: TypeAlias = (
    Sight | _SitesLeft | _SiteRenamed | _Configured | _Listed | _Answered | _Retry | _Lost | _Stop
)


class Outbox:
    """
    The messages that wait, and their channels.

    The mutable state is the router and the channels, which belong to the grouping thread;
    ``_seen``, the last sight of each site, is guarded by ``_lock``; ``_states`` is replaced as a
    whole.

    Args:
        senders: Creates the senders of a receiver, by the names of its channels.
        store: None if nothing is to be kept.
        seat: The name of this daemon among those that share the store.
        is_ours: Returns whether this daemon checks, or would check, the site of a given name.
        gently: Work inside it lets other threads, which check sites, get the interpreter soon.
    """

    def __init__(
        self,
        *,
        senders: SenderFactory,
        store: Store | None,
        clock: Clock,
        meters: MessageMeters,
        seat: str,
        is_ours: Callable[[str], bool],
        gently: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._gently = gently
        self._senders = senders
        self._store = store
        self._clock = clock
        self._meters = meters
        self._seat = seat
        self._is_ours = is_ours
        self._queue: SimpleQueue[_Event] = SimpleQueue()
        self._lock = Lock()
        self._seen: dict[str, Sight] = {}
        self._states: tuple[ChannelState, ...] = ()
        self._router = Router(lambda: uuid.uuid4().hex, clock.time())
        self._settings = NotifyOptions()
        self._threads: dict[str, _ChannelThread] = {}
        self._last: dict[str, tuple[Timestamp, DeliveryOutcome]] = {}
        self._failing: set[str] = set()
        self._now: Timestamp = clock.time()
        self._turned: Seconds = clock.monotonic()
        self._stopping = False
        self._thread = Thread(target=self._run, name="messages", daemon=True)

    # ------------------------------------------------------------ any thread

    def start(self, settings: NotifyOptions) -> None:
        self._queue.put(_Configured(settings))
        if self._store is not None:
            self._store.on_loss(lambda: self._queue.put(_Lost()))
        self._thread.start()

    def stop(self, patience: Seconds) -> None:
        """Begin no more messages; those being sent are not waited for."""
        self._queue.put(_Stop())
        self._thread.join(patience)

    def noted(self, state: SiteState) -> None:
        """Record a state; called in the main thread, never waits."""
        sight = sight_of(state)
        name = sight.site.name
        if sight.same_as(self._seen.get(name)):
            return
        with self._lock:
            self._seen[name] = sight
            self._queue.put(sight)

    def known(self, state: SiteState) -> None:
        """Record a state from another thread, unless the site's state is already known."""
        sight = sight_of(state)
        with self._lock:
            if self._seen.setdefault(sight.site.name, sight) is sight:
                self._queue.put(sight)

    def left(self, names: Iterable[str]) -> None:
        gone = tuple(names)
        with self._lock:
            for name in gone:
                self._seen.pop(name, None)
            self._queue.put(_SitesLeft(gone))

    def renamed(self, old: str, new: str) -> None:
        with self._lock:
            self._seen.pop(old, None)
            self._queue.put(_SiteRenamed(old, new))

    def configure(self, settings: NotifyOptions) -> None:
        """Use these settings from now on."""
        self._queue.put(_Configured(settings))

    def listed(self) -> None:
        """Record that the state of every listed site has been recorded."""
        self._queue.put(_Listed())

    def channels(self) -> tuple[ChannelState, ...]:
        return self._states

    def retry(self, receiver: str | None) -> bool:
        names = tuple(
            one.channel for one in self._states if receiver in (None, one.receiver, one.channel)
        )
        self._queue.put(_Retry(names))
        return bool(names) or receiver is None

    def trouble(self) -> str | None:
        """Return why messages may not be sent, as a sentence; None while all is well."""
        if not self._thread.is_alive():
            return "the thread of messages has ended"
        if self._clock.monotonic() - self._turned > 2 * _LONGEST_WAIT:
            return "the thread of messages does not turn"
        return None

    # ------------------------------------------------------------ the grouping thread

    def _run(self) -> None:
        self._restore()
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                _log.exception("messages_fault")
                self._clock.sleep(_AFTER_FAULT)
        self._write()
        for thread in self._threads.values():
            thread.end()

    def _restore(self) -> None:
        first = self._queue.get()
        if not isinstance(first, _Configured):
            raise TypeError("start() puts the settings first")
        self._configure(first.settings)
        if self._store is None:
            return
        try:
            owed = self._store.owed().result(_RESTORE)
        except TimeoutError:
            _log.warning("messages_not_read", extra=fields(detail="the store does not answer"))
            return
        rows = {
            (row.kind, row.key): row.data
            for row in owed
            if (row.kind == "message" and row.seat == self._seat)
            or (row.kind == "topic" and self._is_ours(Router.site_of(row.key)))
        }
        self._say_dropped(self._router.restore(rows, self._clock.time()))
        for name, thread in self._threads.items():
            thread.restore(tuple(self._router.standing(name)))

    def _turn(self) -> None:
        self._turned = self._clock.monotonic()
        event = self._awaited()
        with self._gently():
            self._take_in(event)
            now = self._time()
            notifications = self._router.due(now) if not self._stopping else []
            kept = self._write()
        if notifications and kept is not None:
            # Its key must be stored before it may arrive
            self._wait_for(kept)
        for notification in notifications:
            self._threads[notification.receiver].send(notification)
        self._publish()

    def _time(self) -> Timestamp:
        now = self._clock.time()
        if now < self._now - _SET_BACK:
            self._router.set_back(now)
        self._now = now
        return now

    def _awaited(self) -> _Event | None:
        """Return the next event, or None once something is due without one."""
        due = self._router.next_due()
        wait = _LONGEST_WAIT if due is None else max(0.0, due - self._clock.time())
        try:
            return self._queue.get(timeout=min(wait, _LONGEST_WAIT)) if wait else None
        except Empty:
            return None

    def _take_in(self, event: _Event | None) -> None:
        """Process what has happened, this event first."""
        try:
            while not self._stopping:
                if event is not None:
                    self._handle(event)
                event = self._queue.get_nowait()
        except Empty:
            pass

    def _handle(self, event: _Event) -> None:
        now = self._time()
        match event:
            case Sight():
                self._router.see(event, now)
            case _SitesLeft():
                self._router.leave(event.names, now)
            case _SiteRenamed():
                self._router.rename(event.old, event.new, now)
            case _Configured():
                self._configure(event.settings)
            case _Listed():
                self._say_dropped(self._router.listed(self._is_ours, now))
            case _Answered():
                self._on_answered(event, now)
            case _Retry():
                self._router.retry(event.channels, now)
            case _Lost():
                self._router.rewrite()
            case _Stop():
                self._stopping = True

    def _configure(self, settings: NotifyOptions) -> None:
        before = {one.name: one for one in self._settings.receivers}
        self._settings = settings
        threads: dict[str, _ChannelThread] = {}
        for receiver in settings.receivers:
            if before.get(receiver.name) == receiver:
                threads.update({name: self._threads.pop(name) for name in receiver.channels()})
                continue
            for name, sender in self._senders(receiver).items():
                thread = _ChannelThread(name, receiver, sender, self._queue, self._clock)
                threads[name] = thread
        fresh = threads.keys() - {name for name, one in threads.items() if one.is_alive}
        for old in self._threads.values():
            old.end()
        self._threads = threads
        channels = {
            name: Channel(thread.receiver.name, groups=thread.sender.groups)
            for name, thread in threads.items()
        }
        self._say_dropped(self._router.configure(settings, channels, self._clock.time()))
        for name in sorted(fresh):
            threads[name].restore(tuple(self._router.standing(name)))
            threads[name].start()
        self._last = {name: last for name, last in self._last.items() if name in threads}
        self._failing &= threads.keys()
        self._meters.channels(threads)
        self._publish()

    def _say_dropped(self, dropped: Mapping[str, int]) -> None:
        """Log that messages were dropped whose receivers are no longer configured."""
        for name, count in sorted(dropped.items()):
            what = "1 message that waited is" if count == 1 else f"{count} messages that waited are"
            why = "this receiver is not under notify any more, or not at the sites they are about"
            detail = f"{what} dropped: {why}"
            _log.warning("messages_dropped", extra=fields(receiver=name, detail=detail))
            for _ in range(count):
                self._meters.notified(name, "dropped")

    def _on_answered(self, event: _Answered, now: Timestamp) -> None:
        outcome, name = event.outcome, event.channel
        if name not in self._threads:
            return
        self._last[name] = now, outcome
        if outcome.delivered:
            self._router.delivered(name, event.key, now)
            self._meters.notified(name, "delivered")
            if name in self._failing:
                self._failing.discard(name)
                _log.info("receiver_recovered", extra=fields(receiver=name))
            return
        what = self._router.failed(
            name,
            event.key,
            now,
            lasting=outcome.lasting,
            answered=outcome.answered,
            retry_after=outcome.retry_after,
        )
        self._meters.notified(name, what)
        if what == "refused":
            _log.error("message_refused", extra=fields(receiver=name, detail=outcome.detail))
        elif what == "expired":
            _log.error("message_expired", extra=fields(receiver=name, detail=outcome.detail))
        elif name not in self._failing:
            self._failing.add(name)
            _log.warning("receiver_failing", extra=fields(receiver=name, detail=outcome.detail))

    def _write(self) -> "Future[bool] | None":
        """Have all changes written; return a future for the last of them."""
        kept: Future[bool] | None = None
        while rows := self._router.changes():
            if self._store is None:
                continue
            if kept is not None and not self._stopping:
                self._wait_for(kept)  # so that memory holds one batch at a time
            kept = self._store.keep(rows)
        return kept

    def _wait_for(self, kept: "Future[bool]") -> None:
        try:
            kept.result(_PATIENCE)
        except TimeoutError:
            _log.warning("messages_not_kept", extra=fields(detail="the store does not answer"))

    def _publish(self) -> None:
        states = self._router.states()
        self._states = tuple(
            ChannelState(
                channel=name,
                receiver=thread.receiver.name,
                kind=thread.receiver.kind,
                waiting=states[name].waiting,
                oldest=states[name].oldest,
                failing_since=states[name].failing_since,
                next_try=states[name].next_try,
                answered=self._last[name][0] if name in self._last else None,
                delivered=self._last[name][1].delivered if name in self._last else None,
                answer=self._last[name][1].detail if name in self._last else "",
            )
            for name, thread in self._threads.items()
        )


class _ChannelThread:
    """A sender, and the only thread in which it is called."""

    def __init__(
        self,
        name: str,
        receiver: ReceiverOptions,
        sender: ChannelSender,
        answers: "SimpleQueue[_Event]",
        clock: Clock,
    ) -> None:
        self.receiver = receiver
        self.sender = sender
        self._name = name
        self._answers = answers
        self._clock = clock
        self._queue: SimpleQueue[Notification | tuple[Alert, ...] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=f"messages to {name}", daemon=True)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def restore(self, alerts: tuple[Alert, ...]) -> None:
        self._queue.put(alerts)

    def send(self, notification: Notification) -> None:
        self._queue.put(notification)

    def end(self) -> None:
        """End after the running attempt, without waiting for it."""
        self._queue.put(None)

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._wait())
            except Empty:
                self._refresh()
                continue
            match item:
                case None:
                    self.sender.close()
                    return
                case Notification():
                    self._answers.put(_Answered(self._name, item.key, self._send(item)))
                case alerts:
                    self.sender.restore(alerts)

    def _wait(self) -> Seconds | None:
        moment = self.sender.next_refresh()
        return None if moment is None else max(0.0, moment - self._clock.monotonic())

    def _send(self, notification: Notification) -> DeliveryOutcome:
        try:
            return self.sender.send(notification, self.receiver.timeout)
        except Exception as error:
            _log.exception("message_fault", extra=fields(receiver=self._name))
            return DeliveryOutcome(
                delivered=False, detail=f"internal error ({type(error).__name__})"
            )

    def _refresh(self) -> None:
        try:
            outcome = self.sender.refresh(self.receiver.timeout)
        except Exception:
            _log.exception("message_fault", extra=fields(receiver=self._name))
            self._clock.sleep(_AFTER_FAULT)
            return
        if not outcome.delivered:
            _log.debug("refresh_failed", extra=fields(receiver=self._name, detail=outcome.detail))
