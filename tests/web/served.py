"""The demonstration, served by the monitor's own web servers over real sockets."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from monitor.board import StatusBoard
from monitor.engine.maintenance import planned
from monitor.past import History
from monitor.web.app import create_app, create_public_app
from monitor.web.published import StatusPages
from monitor.web.server import WebServer
from tests.fakes import FakeClock
from tests.web import demo


@dataclass(frozen=True, slots=True)
class Served:
    """The addresses of the demonstration: the full interface, and the public one for strangers."""

    url: str
    public_url: str


@contextmanager
def served(board: StatusBoard | None = None, history: History | None = None) -> Iterator[Served]:
    """Serve the demonstration, or other sites with another history."""
    board = board or demo.board()
    clock = FakeClock(time=demo.NOW)
    if history is None:
        history = demo.history()

    def status_pages() -> StatusPages:
        return StatusPages(
            board=board,
            published=lambda: demo.PUBLISHED,
            planned=planned,
            history=history,
            clock=clock,
        )

    app = create_app(
        board=board,
        scrape=lambda *_: ("text/plain", iter(())),
        reload=Future,
        config_text=lambda: "",
        version="0.2.0",
        clock=clock,
        history=history,
        status_pages=status_pages(),
    )
    servers = [WebServer(one, ["127.0.0.1:0"]) for one in (app, create_public_app(status_pages()))]
    for server in servers:
        server.start()
    try:
        yield Served(*(f"http://{server.addresses[0]}" for server in servers))
    finally:
        for server in servers:
            server.stop()
