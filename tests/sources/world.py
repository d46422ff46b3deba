"""What the tests give to sources, and a server whose answers a test writes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from monitor.config.discovery import read_yaml
from monitor.discovered import ListedSite, Source
from monitor.sources.ports import Look, UnreadableError, World

WORLD = World(read_yaml)


def source(
    kind: str = "file",
    options: Any = None,
    *,
    name: str = "",
    limit: int = 1000,
    gone: float = 600.0,
    folder: Path = Path(),
) -> Source:
    return Source(
        name=name or kind, kind=kind, options=options, limit=limit, gone=gone, folder=folder
    )


def urls(look: Look | None, part: str = "") -> list[str]:
    """Return the URLs of the good entries of one part."""
    assert look is not None
    found = look.parts[part]
    assert not isinstance(found, UnreadableError), found
    return [str(entry.keys["url"]) for entry in found if not entry.problem]


def entry(url: str, **keys: Any) -> ListedSite:
    return ListedSite({"url": url, **keys}, f"place of {url}")


class Peer:
    """A server on loopback; ``answer`` writes what each GET gets, ``asked`` holds their headers."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.answer = answer
        self.asked: list[dict[str, str]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                peer.asked.append(dict(self.headers))
                with suppress(BrokenPipeError, ConnectionResetError):
                    peer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def peer(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Peer]:
    one = Peer(answer)
    with one.server:
        thread = threading.Thread(target=one.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield one
        finally:
            one.server.shutdown()
            thread.join()


def says(
    body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a function that answers with this body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer
