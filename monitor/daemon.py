"""
The composition root: builds every part, wires them together, starts and stops them in order.

It knows everybody; nobody but the command line knows it.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import NoReturn

from monitor import __version__
from monitor.analysis.expectations import EXPECTATIONS
from monitor.analysis.judge import judge_batch
from monitor.board import Entry, StatusBoard
from monitor.clock import SystemClock
from monitor.config.diff import diff
from monitor.config.load import Config, Tables, load, load_record
from monitor.config.settings import Settings
from monitor.config.watch import Watcher
from monitor.engine.engine import Engine, Publisher
from monitor.engine.events import Inbox, ReloadRequested, SitesChanged, StopRequested
from monitor.engine.pools import AnalysisPool, PoolLimits, ProbePool
from monitor.engine.state import Memory
from monitor.errors import ConfigError
from monitor.logs import Secrets, fields
from monitor.metrics.exposition import Exposition, probe_exposition, render
from monitor.metrics.families import RESERVED_LABELS
from monitor.metrics.internal import Internal
from monitor.model import Result, Seconds, Site, SiteChange, SiteState
from monitor.probes.observe import Observer
from monitor.probes.registry import PROBES
from monitor.probes.transport import LIBCURL_VERSION
from monitor.web.app import create_app
from monitor.web.server import WebServer
from monitor.web.web_config import WebConfig

_log = logging.getLogger(__name__)

TABLES = Tables(probes=PROBES, expectations=EXPECTATIONS, reserved_labels=RESERVED_LABELS)

_SWITCH_INTERVAL: Seconds = 0.0005
"""How long a thread may hold the interpreter while others want it. A tenth of Python's default:
whoever waits for it makes a running check look slow."""
_FAREWELL: Seconds = 2.0
"""How long answers of our own that are under way may take when the daemon stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    What the command line says of a daemon.

    Attributes:
        listen: ``HOST:PORT`` of each address to serve on.
        web_config: A file in exporter-toolkit's form, for TLS and basic authentication.
    """

    config: Path
    listen: tuple[str, ...]
    web_config: Path | None = None


def run(options: RunOptions, secrets: Secrets) -> bool:
    """
    Be the daemon until a stop is over.

    Args:
        secrets: Of the log; told what to mask with every configuration.

    Returns:
        Whether every check in flight was recorded; otherwise the caller must leave() at once.

    Raises:
        ConfigError: The first configuration is bad.
        StartupError: A port is in use, or no worker process is to be had.
    """
    inbox: Inbox = SimpleQueue()
    board = StatusBoard()
    internal = Internal(version=__version__, libcurl=LIBCURL_VERSION)
    reloader = _Reloader(options.config, inbox, internal, secrets)
    config = reloader.config
    server = _web_server(options, board, internal, reloader, inbox)
    runtime = _Runtime(
        config.settings,
        inbox,
        publisher=_Showcase(board),
        internal=internal,
        reload=reloader.requests.put,
        on_stopping=lambda: board.set_unready("stopping"),
    )
    with _signals(
        {
            signal.SIGHUP: lambda: inbox.put(ReloadRequested("signal")),
            **_stopping(inbox, config.settings.shutdown_grace),
        }
    ):
        # The port first: it is what most often is not to be had
        server.start()
        try:
            runtime.analysis.start()
            reloader.start(on_running=lambda: board.set_unready(None))
            _log.info(
                "started",
                extra=fields(
                    version=__version__,
                    sites=len(config.sites),
                    listen=",".join(server.addresses),
                ),
            )
            # 1. The engine starts no check any more, and records those in flight as they finish.
            drained = runtime.engine.run()
            # 2. Nobody asks for a reload that nobody would apply.
            reloader.stop()
        finally:
            # 3. The web server goes after the last result, so that a last scrape can have it.
            server.stop(_FAREWELL)
            # 4. The workers have nothing to do any more, or the grace is over.
            runtime.analysis.stop()
        # 5. Idle threads end; those still in a check cannot be told to leave it, see leave().
        runtime.probes.stop()
        _log.info("stopped", extra=fields(drained=drained))
    return drained


def check(
    sites: Sequence[Site], settings: Settings, on_result: Callable[[Result], bool]
) -> tuple[list[Result], bool]:
    """
    Check every site once, now, through the engine that the daemon uses.

    Args:
        on_result: Told of each result as it comes in, in the main thread; returns whether that is
            enough and the rest need not be checked.

    Returns:
        The results in the order of the sites, and whether these are all: an interrupt cuts the rest
        off, and then the caller must leave() at once.

    Raises:
        StartupError: No worker process is to be had.
    """
    inbox: Inbox = SimpleQueue()
    results = _Results(on_result, enough=lambda: inbox.put(StopRequested(0)))
    runtime = _Runtime(
        settings,
        inbox,
        publisher=results,
        internal=Internal(version=__version__, libcurl=LIBCURL_VERSION),
        reload=lambda _: None,
        on_stopping=lambda: None,
    )
    with _signals(_stopping(inbox, grace=0)):
        runtime.analysis.start()
        try:
            change = SiteChange(added=tuple(sites))
            runtime.engine.handle(SitesChanged(change, _bounds(sites, settings)))
            runtime.engine.run_once()
        finally:
            runtime.analysis.stop()
        runtime.probes.stop()
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


class _Runtime:
    """The engine and its pools, wired."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        *,
        publisher: Publisher,
        internal: Internal,
        reload: Callable[[ReloadRequested], None],
        on_stopping: Callable[[], None],
    ) -> None:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        clock = SystemClock()
        kinds = {id(kind): kind for kind in PROBES.values()}
        built = {number: kind.build() for number, kind in kinds.items()}
        probes = {scheme: built[id(kind)] for scheme, kind in PROBES.items()}
        self.probes = ProbePool(settings.engine.probe_threads, Observer(probes, clock), inbox)
        self.analysis = AnalysisPool(
            settings.analysis.workers,
            judge_batch,
            inbox=inbox,
            clock=clock,
            limits=PoolLimits(timeout=settings.analysis.timeout),
            on_restart=internal.analysis_restarted,
        )
        self.engine = Engine(
            clock=clock,
            inbox=inbox,
            probes=self.probes,
            analysis=self.analysis,
            publisher=publisher,
            meters=internal,
            memory=Memory(results=settings.history.results, failures=settings.history.failures),
            reload=reload,
            on_stopping=on_stopping,
        )


class _Showcase:
    """Renders states as they come and puts them on the board."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board
        self._bounds: tuple[Seconds, ...] = ()

    def publish(self, state: SiteState) -> None:
        self._board.publish((Entry(state, render(state, self._bounds)),))

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


class _Reloader:
    """
    Reads the configuration whenever somebody asks, in a thread of its own.

    That thread alone sets ``config``, which is the configuration that runs.
    """

    def __init__(self, path: Path, inbox: Inbox, internal: Internal, secrets: Secrets) -> None:
        self.requests: SimpleQueue[ReloadRequested] = SimpleQueue()
        self._path = path
        self._inbox = inbox
        self._internal = internal
        self._secrets = secrets
        self.config = self._load()
        self._watcher = Watcher(lambda: inbox.put(ReloadRequested("file")))

    def start(self, on_running: Callable[[], None]) -> None:
        """
        Put the first configuration in force, then wait for requests.

        Args:
            on_running: Called, in the reloader's thread, once the first one is in force.
        """

        def serve() -> None:
            self._apply(diff(None, self.config), self.config)
            on_running()
            while True:
                requests = [self.requests.get()]
                # Whoever asked before the files are read gets the same answer
                while not self.requests.empty():
                    requests.append(self.requests.get())
                problems = self._reload(requests[0].cause)
                for request in requests:
                    if request.reply is not None:
                        request.reply.set_result(problems)

        self._watcher.start(self.config.files)
        Thread(target=serve, name="reload", daemon=True).start()

    def stop(self) -> None:
        """Watch no file any more; a reload under way is dropped with its thread."""
        self._watcher.stop()

    def _load(self) -> Config:
        config = load(self._path, TABLES, os.environ)
        # The list that runs and the new one may both be spoken of from now on
        secrets = {secret for site in config.sites for secret in site.secrets}
        self._secrets.values = tuple(
            sorted(secrets.union(self._secrets.values), key=len, reverse=True)
        )
        return config

    def _reload(self, cause: str) -> tuple[str, ...]:
        """Return what is wrong with the files; nothing when they are in force."""
        try:
            config = self._load()
        except ConfigError as error:
            self._internal.reloaded(ok=False, time=0)
            for problem in error.problems:
                _log.error("config_rejected", extra=fields(cause=cause, problem=str(problem)))
            # A mistake in a file that is new to the list is mended in that file
            self._watcher.update((*self.config.files, *error.files))
            return tuple(map(str, error.problems))
        except Exception:
            self._internal.reloaded(ok=False, time=0)
            _log.exception("reload_failed")
            return ("internal error; the log has the details",)
        change = diff(self.config, config)
        if config.settings != self.config.settings:
            _log.warning("settings_need_a_restart", extra=fields(cause=cause))
        self._apply(change, config)
        _log.info(
            "reloaded",
            extra=fields(
                cause=cause,
                added=len(change.added),
                removed=len(change.removed),
                changed=len(change.changed),
            ),
        )
        return ()

    def _apply(self, change: SiteChange, config: Config) -> None:
        applied: Future[None] = Future()
        bounds = _bounds(config.sites, config.settings)
        self._inbox.put(SitesChanged(change, bounds, applied))
        applied.result()
        self.config = config
        self._watcher.update(config.files)
        self._internal.reloaded(ok=True, time=SystemClock().time())


def _web_server(
    options: RunOptions,
    board: StatusBoard,
    internal: Internal,
    reloader: _Reloader,
    inbox: Inbox,
) -> WebServer:
    exposition = Exposition(board, internal, SystemClock())

    def request_reload() -> "Future[tuple[str, ...]]":
        reply: Future[tuple[str, ...]] = Future()
        inbox.put(ReloadRequested("web", reply))
        return reply

    def probe_site(accept: str, name: str) -> tuple[str, Iterator[bytes]]:
        entry = board.get(name)
        if entry is None or entry.state.finished is None:
            raise LookupError(name)
        content_type, text = probe_exposition(entry.state.site, entry.state.finished, accept)
        return content_type, iter((text,))

    app = create_app(
        board=board,
        scrape=exposition.scrape,
        reload=request_reload,
        config_text=lambda: reloader.config.masked,
        version=__version__,
        probe_site=probe_site,
    )
    web_config = WebConfig()
    if options.web_config is not None:
        web_config = load_record(options.web_config, WebConfig, os.environ)
    return WebServer(app, options.listen, web_config)


def _bounds(sites: Iterable[Site], settings: Settings) -> tuple[Seconds, ...]:
    return settings.bucket_bounds(max(site.timeout for site in sites))


def _stopping(inbox: Inbox, grace: Seconds) -> Mapping[signal.Signals, Callable[[], None]]:
    def stop() -> None:
        inbox.put(StopRequested(grace))

    return {signal.SIGTERM: stop, signal.SIGINT: stop}


@contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """
    Let each signal leave its note in the inbox for as long as the block lasts.

    A handler runs between any two instructions of the main thread, which may hold a lock; putting
    into a SimpleQueue is the one thing that is safe there.
    """

    def handle(number: int, _: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    before = {number: signal.signal(number, handle) for number in handlers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
