"""
The composition root: builds every part, wires them together, starts and stops them in order.

It knows everybody; nobody but the command line knows it.
"""

import logging
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn

from monitor import __version__
from monitor.analysis.body import as_text
from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.judge import judge_at_once, judge_batch
from monitor.analysis.readings import READINGS
from monitor.app.memory import Memory, Oblivion
from monitor.app.on_demand import LiveProbes
from monitor.app.places import ALONE, HubEnd, OwnEnd, Role, end_of
from monitor.app.reloader import (
    DISCOVERY,
    Finder,
    Reloader,
    ReloadRequested,
    Requests,
    bucket_bounds,
)
from monitor.app.reporting import Reporters, recalled
from monitor.app.sharding import WHOLE, Shard
from monitor.app.systemd import ServiceManager
from monitor.app.voice import Voice, check_receiver
from monitor.board import BoardEntry, StatusBoard
from monitor.clock import SystemClock
from monitor.config.load import Tables
from monitor.config.modules import SHIPPED
from monitor.config.settings import Settings
from monitor.engine.engine import Engine
from monitor.engine.events import Inbox, NewsOf, Pinged, SitesChanged, StopRequested
from monitor.engine.garbage import Garbage
from monitor.engine.guard import nothing
from monitor.engine.hub import Hub
from monitor.engine.maintenance import planned
from monitor.engine.orphans import start_reaping
from monitor.engine.pools import AnalysisPool, PoolLimits
from monitor.engine.ports import Publisher, Recorder
from monitor.engine.schedule import Schedule
from monitor.engine.state import Depth
from monitor.engine.threads import ProbePool
from monitor.errors import StartupError
from monitor.logs import Secrets, fields, write_in_background
from monitor.mailbox import Mailbox
from monitor.metrics.exposition import render
from monitor.metrics.families import RESERVED_LABELS
from monitor.metrics.internal import Internal
from monitor.metrics.scrape import Exposition, probe_exposition
from monitor.model import Result, Site, SiteChange, SiteState, Status
from monitor.probes.observe import Observer
from monitor.probes.registry import PROBES, build_probes
from monitor.probes.version import LIBCURL_VERSION
from monitor.sources.options import SOURCES
from monitor.units import Seconds
from monitor.web.app import Before, create_app, create_public_app
from monitor.web.published import StatusPages
from monitor.web.push import PushCalls, is_call
from monitor.web.server import WebServer
from monitor.web.web_config import WebConfig

_log = logging.getLogger(__name__)

TABLES = Tables(
    probes=PROBES,
    expectations=EXPECTATIONS,
    readings=READINGS,
    reserved_labels=RESERVED_LABELS,
    modules=SHIPPED,
    sources=SOURCES,
    check_receiver=check_receiver,
)

SWITCH_INTERVAL: Seconds = 0.01
"""How long a thread may hold the interpreter while others want it, who wake up this often to ask:
shorter, and a crowd of threads does nothing else. Twice Python's default; none needs it for long
but a reload, which sets its own."""
_FAREWELL: Seconds = 2.0
"""How long answers of our own that are under way may take when the daemon stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    What the command line says of a daemon.

    Attributes:
        listen: Each address to serve on, as ``--listen`` has it.
        listen_public: Each address to serve the public status pages on, and nothing else.
        web_config: A file in exporter-toolkit's form, for TLS and basic authentication.
        shard: Which of the sites are checked.
        data: The folder of what must not be forgotten; None where nothing is to be kept.
        role: What this daemon is among several places.
    """

    config: Path
    listen: tuple[str, ...]
    listen_public: tuple[str, ...] = ()
    web_config: Path | None = None
    shard: Shard = WHOLE
    data: Path | None = None
    role: Role = ALONE


def run(options: RunOptions, secrets: Secrets) -> bool:
    """
    Be the daemon until a stop is over.

    Args:
        secrets: Of the log; told what to mask with every configuration.

    Returns:
        Whether every check in flight was recorded; otherwise the caller must leave() at once.

    Raises:
        ConfigError: The first configuration is bad.
        StartupError: A port or the data folder is in use, no worker process can be started, or
            the list does not say what a place or a hub needs.
        HistoryError: The store needs a driver that is not installed.
    """
    garbage = Garbage(SystemClock())
    garbage.take_over()
    inbox: Inbox = SimpleQueue()
    requests: Requests = SimpleQueue()
    board = StatusBoard()
    manager = ServiceManager(os.environ)
    internal = Internal(
        version=__version__,
        libcurl=LIBCURL_VERSION,
        shard=(options.shard.number, options.shard.total),
    )
    write_in_background(internal.log_line_dropped)
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGHUP: lambda: requests.put(ReloadRequested("signal")),
        # Until there is something to end in order; reading many sites takes seconds
        **_on_stop(sys.exit),
    }
    with _signals(handlers):
        reloader = Reloader(
            options.config,
            options.web_config,
            tables=TABLES,
            inbox=inbox,
            requests=requests,
            internal=internal,
            secrets=secrets,
            manager=manager,
            open_finder=lambda: _finder(options.data, internal, requests),
            shard=lambda settings: options.role.shard(options.shard, settings.locations),
        )
        config = reloader.config
        live = None if options.role.hub else LiveProbes(lambda: reloader.config, inbox, PROBES)
        memory = _memory(options, config.settings, internal)
        mailbox = Mailbox()
        reporters = Reporters(lambda: reloader.config.sites, reloader.shard)
        calls = partial(
            PushCalls,
            mailbox=mailbox,
            reporters=reporters,
            on_call=lambda name: inbox.put(NewsOf(name)),
            stopping=lambda: board.unready() == "stopping",
            clock=SystemClock(),
        )
        voice = Voice(
            memory,
            board=board,
            internal=internal,
            shard=reloader.shard,
            seat=_seat(options),
            mute=options.role.location is not None,
            ping=lambda: _ping(inbox),
        )
        servers = _WebServers(options, board, internal, reloader, live, voice, calls)

        def running() -> None:
            garbage.forget()
            board.ready()
            manager.ready()
            manager.watch(lambda: _ping(inbox), lambda: _summary(board, reloader))
            end.link.start()

        def stopping() -> None:
            board.stopping()
            manager.stopping()

        end = end_of(options.role, reloader, memory, voice, inbox, internal, board)
        runtime = _runtime(
            end,
            config.settings,
            inbox,
            mailbox=mailbox,
            publisher=_Showcase(board),
            internal=internal,
            on_stopping=stopping,
            between_turns=garbage.step,
        )
        handlers |= _on_stop(lambda: inbox.put(StopRequested(config.settings.shutdown_grace)))
        drained = False
        # The port first: of all that may be missing, it is what most often is
        servers.start()
        try:
            voice.start(config)
            sites = reloader.start(
                servers.reconfigure,
                recall=recalled(memory.recall, mailbox) if memory else lambda _: {},
                on_listed=voice.listed,
                on_running=running,
            )
            # While the past of the sites is read, in another thread
            runtime.start()
            _log.info(
                "started",
                extra=fields(
                    version=__version__,
                    sites=sites,
                    shard=options.shard if options.shard.total > 1 else None,
                    location=options.role.location,
                    hub=options.role.hub or None,
                    listen=",".join(servers.addresses),
                    listen_public=",".join(servers.public_addresses) or None,
                    data=options.data or "none",
                ),
            )
            # 1. The engine starts no check any more, and records those in flight as they finish.
            drained = runtime.engine.run()
        finally:
            # 2. No reload begins any more, and requests for one are cancelled.
            reloader.stop()
            # 3. The web server goes after the last result, so that a last scrape can have it.
            servers.stop(_FAREWELL if drained else 0)
            # 4. The workers have nothing to do any more, or the grace is over.
            runtime.stop_workers()
            # 5. The hub hears of the last results.
            end.link.stop()
            # 6. All that was noted, and what people are owed, is there for the next daemon.
            voice.stop()
            # 7. Idle threads end; those still in a check cannot be told to leave it, see leave().
            runtime.stop_threads()
        _log.info("stopped", extra=fields(drained=drained))
    return drained


def check(
    sites: Sequence[Site],
    settings: Settings,
    on_result: Callable[[Result], bool],
    *,
    connectivity: tuple[Site, ...] = (),
) -> tuple[list[Result], bool]:
    """
    Check every site once, now, through the engine that the daemon uses.

    Args:
        on_result: Told of each result as it comes in, in the main thread; returns whether that is
            enough and the rest need not be checked.
        connectivity: While none of these answers, sites are unknown, not down.

    Returns:
        The results in the order of the sites, and whether these are all: an interrupt cuts the rest
        off, and then the caller must leave() at once.

    Raises:
        StartupError: No worker process can be started.
    """
    inbox: Inbox = SimpleQueue()
    results = _Results(on_result, enough=lambda: inbox.put(StopRequested(0)))
    runtime = _Runtime(
        settings,
        inbox,
        mailbox=Mailbox(),
        publisher=results,
        recorder=Oblivion(),
        internal=Internal(version=__version__, libcurl=LIBCURL_VERSION),
    )
    with _signals(_on_stop(lambda: inbox.put(StopRequested(0)))):
        try:
            runtime.start()
            change = SiteChange(added=tuple(sites))
            bounds = bucket_bounds(sites, settings)
            runtime.engine.handle(SitesChanged(change, bounds, connectivity=connectivity))
            runtime.engine.run_once()
        finally:
            runtime.stop_workers()
            runtime.stop_threads()
    found = [results.by_site[site.name] for site in sites if site.name in results.by_site]
    return found, len(found) == len(sites)


def leave(code: int) -> NoReturn:
    """
    End the process now, whatever its threads are doing.

    sys.exit would wait for pool threads that are still in a check, long after the grace is over;
    this is the only place that does not.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _allow_descriptors() -> None:
    """
    Take as many file descriptors as the system admits of.

    Each check under way has two or three, and what most systems give a process at first (1024, for
    the sake of select(2), which nothing here calls) is too little once a thousand sites hang.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Runtime:
    """The engine and its pools, wired."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        *,
        mailbox: Mailbox,
        publisher: Publisher,
        recorder: Recorder,
        internal: Internal,
        on_stopping: Callable[[], None] = nothing,
        between_turns: Callable[[], None] = nothing,
    ) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        _allow_descriptors()
        clock = SystemClock()
        self.probes = ProbePool(
            settings.engine.probe_threads,
            Observer(build_probes(mailbox), clock),
            inbox=inbox,
            clock=clock,
        )
        self.analysis = AnalysisPool(
            settings.analysis.workers,
            judge_batch,
            inbox=inbox,
            clock=clock,
            limits=PoolLimits(timeout=settings.analysis.timeout, memory=settings.analysis.memory),
            on_restart=internal.analysis_restarted,
        )
        self.engine = Engine(
            clock=clock,
            inbox=inbox,
            schedule=Schedule(clock.time() - clock.monotonic()),
            probes=self.probes,
            analysis=self.analysis,
            publisher=publisher,
            meters=internal,
            recorder=recorder,
            depth=_depth(settings),
            as_text=as_text,
            judge_at_once=judge_at_once,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )
        internal.load_from(self.engine.load)

    def start(self) -> None:
        """
        Start what must be there before the first check.

        Raises:
            StartupError: The system gives no thread, or no worker process.
        """
        self.probes.start()
        self.analysis.start()
        start_reaping()

    def stop_workers(self) -> None:
        self.analysis.stop()

    def stop_threads(self) -> None:
        self.probes.stop()


class _HubRuntime:
    """The loop of a hub, wired; it has neither workers nor threads that probe."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        publisher: Publisher,
        end: HubEnd,
        *,
        on_stopping: Callable[[], None],
        between_turns: Callable[[], None],
    ) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        _allow_descriptors()
        self.engine = Hub(
            clock=SystemClock(),
            inbox=inbox,
            votes=end.votes,
            publisher=publisher,
            meters=end.meters,
            recorder=end.recorder,
            depth=_depth(settings),
            fingerprint=end.fingerprint,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )

    def start(self) -> None:
        pass

    def stop_workers(self) -> None:
        pass

    def stop_threads(self) -> None:
        pass


def _runtime(
    end: OwnEnd | HubEnd,
    settings: Settings,
    inbox: Inbox,
    *,
    mailbox: Mailbox,
    publisher: Publisher,
    internal: Internal,
    on_stopping: Callable[[], None],
    between_turns: Callable[[], None],
) -> _Runtime | _HubRuntime:
    if isinstance(end, HubEnd):
        return _HubRuntime(
            settings,
            inbox,
            publisher,
            end,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )
    return _Runtime(
        settings,
        inbox,
        mailbox=mailbox,
        publisher=publisher,
        recorder=end.recorder,
        internal=internal,
        on_stopping=on_stopping,
        between_turns=between_turns,
    )


def _depth(settings: Settings) -> Depth:
    return Depth(results=settings.history.results, failures=settings.history.failures)


class _Showcase:
    """Renders states as they come and puts them on the board."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._bounds: tuple[Seconds, ...] = ()

    def publish(self, state: SiteState) -> None:
        before = self._board.get(state.site.name)
        same = before is not None and before.state.site is state.site
        last = before.series if before is not None and same else None
        self._board.publish((BoardEntry(state, render(state, self._bounds, last)),))

    def remove(self, names: Iterable[str]) -> None:
        self._board.remove(names)

    def bounds_changed(self, bounds: tuple[Seconds, ...]) -> None:
        self._bounds = bounds


class _Results:
    """Collects the results of checks that are done once."""

    def __init__(self, on_result: Callable[[Result], bool], enough: Callable[[], None]) -> None:
        self.by_site: dict[str, Result] = {}
        self._on_result = on_result
        self._enough = enough

    def publish(self, state: SiteState) -> None:
        if state.last is not None:
            self.by_site[state.site.name] = state.last
            if self._on_result(state.last):
                self._enough()

    def remove(self, names: Iterable[str]) -> None:
        pass

    def bounds_changed(self, bounds: tuple[Seconds, ...]) -> None:
        pass


class _WebServers:
    """
    What serves everything to those who may log in, and public pages to strangers.

    Each has a thread and connections of its own, so that a crowd of strangers keeps no scrape out.
    """

    def __init__(
        self,
        options: RunOptions,
        board: StatusBoard,
        internal: Internal,
        reloader: Reloader,
        live: LiveProbes | None,
        voice: Voice,
        calls: Before,
    ) -> None:
        history = voice.history

        def status_pages() -> StatusPages:
            return StatusPages(
                board=board,
                published=lambda: reloader.config.published,
                planned=planned,
                history=history,
                clock=SystemClock(),
            )

        self._all = _web_server(
            options, board, internal, reloader, live, status_pages(), voice, calls
        )
        self._public: WebServer | None = None
        if options.listen_public:
            app = create_public_app(status_pages())
            config = reloader.web_config.for_strangers()
            self._public = WebServer(app, options.listen_public, config)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._all.addresses

    @property
    def public_addresses(self) -> tuple[str, ...]:
        return self._public.addresses if self._public else ()

    def start(self) -> None:
        """
        Listen.

        Raises:
            StartupError: As WebServer.start does; nothing is left open.
        """
        self._all.start()
        if self._public:
            try:
                self._public.start()
            except StartupError:
                self._all.stop(0)
                raise

    def reconfigure(self, web_config: WebConfig) -> None:
        """
        Use this configuration from now on.

        Raises:
            StartupError: The certificate cannot be used; the former configuration stays.
        """
        self._all.reconfigure(web_config)
        if self._public:
            self._public.reconfigure(web_config.for_strangers())

    def stop(self, timeout: Seconds) -> None:
        self._all.stop(timeout)
        if self._public:
            self._public.stop(timeout)


def _web_server(
    options: RunOptions,
    board: StatusBoard,
    internal: Internal,
    reloader: Reloader,
    live: LiveProbes | None,
    status_pages: StatusPages,
    voice: Voice,
    calls: Before,
) -> WebServer:
    exposition = Exposition(board, internal, SystemClock())

    def probe_site(accept: str, name: str) -> tuple[str, Iterator[bytes]]:
        entry = board.get(name)
        if entry is None or entry.state.finished is None:
            raise LookupError(name)
        content_type, text = probe_exposition(entry.state.site, entry.state.finished, accept)
        return content_type, iter((text,))

    def elsewhere(name: str) -> str | None:
        shard = reloader.shard
        number = shard.owner(name)
        listed = any(site.name == name for site in reloader.config.sites)
        return f"shard {number}/{shard.total}" if listed and number != shard.number else None

    app = create_app(
        board=board,
        scrape=exposition.scrape,
        reload=reloader.request,
        config_text=lambda: reloader.config.masked,
        version=__version__,
        probe_site=probe_site,
        live=live,
        elsewhere=elsewhere,
        status_pages=status_pages,
        history=voice.history,
        outbox=voice,
        calls=calls,
        on_scrape_refused=internal.scrape_refused,
    )

    def is_free(path: str) -> bool:
        return is_call(path) or status_pages.is_public(path)

    return WebServer(app, options.listen, reloader.web_config, is_free=is_free)


def _seat(options: RunOptions) -> str:
    """Return what this daemon is called among those that share a store."""
    return f"hub {options.shard}" if options.role.hub else str(options.shard)


def _memory(options: RunOptions, settings: Settings, internal: Internal) -> Memory | None:
    if options.data is None:
        return None
    history = settings.history
    if options.role.location is not None:
        # The list's store is the hub's: of each site one daemon writes
        history = replace(history, store=None)
    return Memory(
        options.data,
        history,
        seat=_seat(options),
        version=__version__,
        meters=internal,
    )


def _finder(data: Path | None, internal: Internal, requests: Requests) -> Finder:
    # Loaded here, as most lists have no sources
    module = import_module("monitor.app.discovery")
    finder: Finder = module.open_discovery(
        data, internal, lambda: requests.put(ReloadRequested(DISCOVERY))
    )
    return finder


def _ping(inbox: Inbox) -> "Future[None]":
    reply: Future[None] = Future()
    inbox.put(Pinged(reply))
    return reply


def _summary(board: StatusBoard, reloader: Reloader) -> str:
    """Return the one line that ``systemctl status`` shows."""
    counts = Counter(entry.state.shown for entry in board.entries())
    shown = (f"{counts[status]} {status}" for status in Status if counts[status])
    sites = ", ".join(shown) or "no sites"
    return f"{sites}; the last reload was rejected" if reloader.rejected else sites


def _on_stop(do: Callable[[], None]) -> dict[signal.Signals, Callable[[], None]]:
    return dict.fromkeys((signal.SIGTERM, signal.SIGINT), do)


@contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """
    Have each signal handled for as long as the block lasts, which may put others in their places.

    A handler runs between any two instructions of the main thread, which may hold a lock. Leaving a
    note in a SimpleQueue, the inbox or the reloader's, is safe there, and so is ending the process
    before anything has begun. After the block the process is about to end and reports the outcome:
    a signal that comes then is ignored.
    """

    def handle(number: int, _: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)
