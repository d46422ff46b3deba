"""
The composition root: builds every part, wires them together, starts and stops them in order.

It knows all packages; only the command line knows it.
"""

import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from monitor import __version__
from monitor.app.on_demand import LiveProbes
from monitor.app.places import ALONE, Role, end_of
from monitor.app.process import handled_signals, on_stop
from monitor.app.reloader import (
    DISCOVERY,
    Finder,
    Reloader,
    ReloadRequested,
    Requests,
)
from monitor.app.reporting import Reporters, recalled
from monitor.app.runtime import runtime_of
from monitor.app.serving import WebServers
from monitor.app.sharding import WHOLE, Shard
from monitor.app.systemd import ServiceManager
from monitor.app.tables import TABLES
from monitor.app.voice import Voice
from monitor.board import StatusBoard
from monitor.clock import SystemClock
from monitor.config.settings import Settings
from monitor.engine.events import Inbox, NewsOf, Pinged, StopRequested
from monitor.engine.garbage import Garbage
from monitor.logs import Secrets, fields, write_in_background
from monitor.mailbox import Mailbox
from monitor.metrics.internal import Internal
from monitor.metrics.publisher import BoardPublisher
from monitor.model import Status
from monitor.probes.registry import PROBES
from monitor.probes.version import LIBCURL_VERSION
from monitor.units import Seconds
from monitor.web.push import PushCalls

if TYPE_CHECKING:
    from monitor.app.memory import Memory

_log = logging.getLogger(__name__)

_FAREWELL: Seconds = 2.0
"""How long running answers of our own web server may take when the daemon stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    What the command line says about a daemon.

    Attributes:
        listen: Each address to serve on, as given to ``--listen``.
        listen_public: Each address that serves only the public status pages.
        web_config: A file in exporter-toolkit's format, for TLS and basic authentication.
        shard: The part of the sites that is checked.
        data: The folder for states and history; None if nothing is to be kept.
        role: This daemon's role among several places.
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
    Run the daemon until a stop is complete.

    Args:
        secrets: Those of the log; they are updated with every configuration.

    Returns:
        Whether every running check was recorded; otherwise the caller must leave() at once.

    Raises:
        ConfigError: The first configuration is bad.
        StartupError: A port or the data folder is in use, no worker process can be started, or
            the list lacks what a place or a hub needs.
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
        # Until there is something to stop in order; loading many sites takes seconds
        **on_stop(sys.exit),
    }
    with handled_signals(handlers):
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
        servers = WebServers(
            options.listen,
            options.listen_public,
            board=board,
            internal=internal,
            reloader=reloader,
            live=live,
            voice=voice,
            calls=calls,
        )

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
        runtime = runtime_of(
            end,
            config.settings,
            inbox,
            mailbox=mailbox,
            publisher=BoardPublisher(board),
            internal=internal,
            on_stopping=stopping,
            between_turns=garbage.step,
        )
        handlers |= on_stop(lambda: inbox.put(StopRequested(config.settings.shutdown_grace)))
        drained = False
        # The port first, because it is the most frequent problem
        servers.start()
        try:
            voice.start(config)
            sites = reloader.start(
                servers.reconfigure,
                recall=recalled(memory.recall, mailbox) if memory else lambda _: {},
                on_listed=voice.listed,
                on_running=running,
            )
            # Meanwhile another thread reads the past of the sites
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
            # 1. The engine starts no more checks, and records the running ones as they finish.
            drained = runtime.engine.run()
        finally:
            # 2. No more reloads begin, and requests for one are cancelled.
            reloader.stop()
            # 3. The web server stops after the last result, so that a last scrape can get it.
            servers.stop(_FAREWELL if drained else 0)
            # 4. The workers have nothing left to do, or the grace period is over.
            runtime.stop_workers()
            # 5. The hub gets the last results.
            end.link.stop()
            # 6. Everything recorded, and all messages still to be sent, are stored for the next
            # daemon.
            voice.stop()
            # 7. Idle threads end; threads in a check cannot be interrupted, see leave().
            runtime.stop_threads()
        _log.info("stopped", extra=fields(drained=drained))
    return drained


def _seat(options: RunOptions) -> str:
    """Return this daemon's name among those that share a store."""
    return f"hub {options.shard}" if options.role.hub else str(options.shard)


def _memory(options: RunOptions, settings: Settings, internal: Internal) -> "Memory | None":
    if options.data is None:
        return None
    history = settings.history
    if options.role.location is not None:
        # The list's store belongs to the hub: only one daemon writes about each site
        history = replace(history, store=None)
    # Loaded here, because SQLAlchemy takes 13 MB, which a daemon without a data folder saves
    module = import_module("monitor.app.memory")
    memory: Memory = module.Memory(
        options.data, history, seat=_seat(options), version=__version__, meters=internal
    )
    return memory


def _finder(data: Path | None, internal: Internal, requests: Requests) -> Finder:
    # Loaded here, because most lists have no sources
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
    """Return the status line that ``systemctl status`` shows."""
    counts = Counter(entry.state.shown for entry in board.entries())
    shown = (f"{counts[status]} {status}" for status in Status if counts[status])
    sites = ", ".join(shown) or "no sites"
    return f"{sites}; the last reload was rejected" if reloader.rejected else sites
