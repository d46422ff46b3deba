"""Wires the web servers: one for users, one for strangers; composition root."""

from collections.abc import Iterator

from monitor import __version__
from monitor.app.on_demand import LiveProbes
from monitor.app.reloader import Reloader
from monitor.app.voice import Voice
from monitor.board import StatusBoard
from monitor.clock import SystemClock
from monitor.engine.maintenance import planned
from monitor.errors import StartupError
from monitor.metrics.internal import Internal
from monitor.metrics.scrape import Exposition, probe_exposition
from monitor.units import Seconds
from monitor.web.app import Before, create_app, create_public_app
from monitor.web.published import StatusPages
from monitor.web.push import is_call
from monitor.web.server import WebServer
from monitor.web.web_config import WebConfig


class WebServers:
    """
    Serves everything to users who may log in, and public pages to strangers.

    Each server has its own thread and connections, so a crowd of strangers cannot block a scrape.
    """

    def __init__(
        self,
        listen: tuple[str, ...],
        listen_public: tuple[str, ...],
        *,
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
            listen,
            board=board,
            internal=internal,
            reloader=reloader,
            live=live,
            status_pages=status_pages(),
            voice=voice,
            calls=calls,
        )
        self._public: WebServer | None = None
        if listen_public:
            app = create_public_app(status_pages())
            config = reloader.web_config.for_strangers()
            self._public = WebServer(app, listen_public, config)

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
            StartupError: The certificate cannot be used; the previous configuration stays.
        """
        self._all.reconfigure(web_config)
        if self._public:
            self._public.reconfigure(web_config.for_strangers())

    def stop(self, timeout: Seconds) -> None:
        self._all.stop(timeout)
        if self._public:
            self._public.stop(timeout)


def _web_server(
    listen: tuple[str, ...],
    *,
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

    return WebServer(app, listen, reloader.web_config, is_free=is_free)
