"""Containers, listed by a server on a Unix socket that speaks Docker's API."""

import json
import socketserver
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from monitor.sources.docker import open_source
from monitor.sources.options import DockerOptions
from monitor.sources.ports import UnreadableError
from tests.sources.world import WORLD, source, urls
from tests.waiting import PATIENCE, until


class Engine:
    """Containers by name, with their labels; each change is sent to all who listen for events."""

    def __init__(self, path) -> None:
        self.containers: dict[str, dict[str, str]] = {}
        self.status = 200
        self.body: bytes | None = None
        self.listeners: list[BaseHTTPRequestHandler] = []
        self.asked: list[str] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                engine.asked.append(self.path)
                engine.answer(self)

            def address_string(self) -> str:
                return "docker"

            def log_message(self, *_) -> None:
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_) -> None:
                pass  # clients hang up

        self.server = Server(str(path), Handler)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def answer(self, handler) -> None:
        split = urlsplit(handler.path)
        filters = json.loads(parse_qs(split.query)["filters"][0])
        if split.path == "/events":
            assert filters["type"] == ["container"]
            self._answer_events(handler)
            return
        assert (split.path, filters) == (
            "/containers/json",
            {"label": ["monitor.url"], "status": ["running"]},
        )
        listed = [
            {"Id": f"{name}0123456789abcdef", "Names": [f"/{name}"], "Labels": labels}
            for name, labels in self.containers.items()
        ]
        body = json.dumps(listed).encode() if self.body is None else self.body
        handler.send_response(self.status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _answer_events(self, handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        self.listeners.append(handler)
        self.over.wait(PATIENCE)
        handler.close_connection = True

    def change(self, **containers: dict[str, str]) -> None:
        self.containers = containers
        event = b'{"Type":"container","Action":"start"}\n'
        for handler in self.listeners:
            with suppress(OSError):  # the client hung up
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def stop(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def engine(tmp_path):
    one = Engine(tmp_path / "docker.sock")
    yield one
    one.stop()


@pytest.fixture
def reader(engine):
    options = DockerOptions(host=f"unix://{engine.server.server_address}")
    one = open_source(source("docker", options), WORLD)
    yield one
    one.close()
    one.wait()  # closes the events that it listens to


def test_labels_say_what_is_checked(engine, reader):
    """Dots lead into sections, values are YAML, and the site has the container's name."""
    engine.change(
        web={
            "monitor.url": "https://web.example",
            "monitor.interval": "15s",
            "monitor.expect.status": "[200, 204]",
            "monitor.http.headers.x-a": "'1'",
            "monitor.labels.team": "017",
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "front",
            "other": "label",
        },
        named={"monitor.url": "tcp://db:5432", "monitor.name": "database"},
        bad={"monitor.url": "https://x.example", "monitor.expect": "["},
        both={"monitor.url": "https://x", "monitor.http": "x", "monitor.http.method": "POST"},
        unlabelled={},
    )
    found = {one.place: one for one in reader.look().parts[""]}
    assert list(found) == [f"container {name}" for name in ("web", "named", "bad", "both")]
    web, named, bad, both = found.values()
    assert web.keys == {
        "url": "https://web.example",
        "name": "web",
        "interval": "15s",
        "expect": {"status": [200, 204]},
        "http": {"headers": {"x-a": "1"}},
        "labels": {
            "source": "docker",
            "container": "web",
            "compose_project": "shop",
            "compose_service": "front",
            "team": "017",
        },
    }
    assert named.keys["name"] == "database"
    assert "is not YAML" in bad.problem
    assert "monitor.http.method: a label above it" in both.problem


def test_an_event_ends_the_wait(engine, reader):
    """A start or stop is noticed at once; events are requested before the list."""
    engine.change(a={"monitor.url": "https://a.example"})
    assert urls(reader.look()) == ["https://a.example"]
    assert [path.partition("?")[0] for path in engine.asked] == ["/events", "/containers/json"]
    waiting = threading.Thread(target=reader.wait)
    waiting.start()
    until(lambda: engine.listeners)
    engine.change(b={"monitor.url": "https://b.example"})
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert urls(reader.look()) == ["https://b.example"]


def test_a_close_ends_the_wait(engine, reader):
    """The wait ends even if the engine sends nothing."""
    reader.look()
    waiting = threading.Thread(target=reader.wait)
    waiting.start()
    until(lambda: engine.listeners)
    reader.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"{}", "answers /containers/json with status 500"),
        (200, b"nonsense", "answers with something else than a list"),
        (200, b"{}", "answers with something else than a list"),
        (200, b"[" * 100_000, "answers with something else than a list"),
        (200, b" " * 17 * 1024**2, "lists more than 16MiB"),
    ],
)
def test_a_bad_answer_is_told(engine, reader, status, body, why):
    """The error names the place where the engine listens."""
    engine.status, engine.body = status, body
    with pytest.raises(UnreadableError, match=why):
        reader.look()


def test_an_engine_that_is_away(tmp_path):
    """The error ends with the system's own words."""
    options = DockerOptions(host=f"unix://{tmp_path}/none.sock")
    reader = open_source(source("docker", options), WORLD)
    with pytest.raises(UnreadableError, match=r"none\.sock: no such file or directory"):
        reader.look()
