"""
An API server on loopback that lists and watches as Kubernetes' does.

Resource versions, chunks with ``continue``, bookmarks, 410 for a version that is too old, watches
that end, packed lists, and Status objects for what it refuses.
"""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.waiting import PATIENCE

INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
_PACKED = 128 * 1024
"""Answers that are longer are packed for clients that take gzip."""
GATEWAY = "/apis/gateway.networking.k8s.io/v1"


class Server:
    """
    Objects by the path that lists them; each change is sent to all watches.

    Attributes:
        served: Paths that exist; the others answer 404.
        refused: Paths, each with the status that it answers.
        token: The token that a request must have.
        compacted: Versions below this one are gone.
        asked: Each request, as path and query.
    """

    def __init__(self) -> None:
        self.served: set[str] = {INGRESSES}
        self.refused: dict[str, int] = {}
        self.token = "first-token"
        self.compacted = 0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.chunk: int | None = None
        self._version = 100
        self._objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        # Guards the log of events; notified of a new event, or of the end of watches
        self._changed = threading.Condition()
        self._log: list[tuple[int, str, dict[str, Any]]] = []
        self._epoch = 0
        self._watches: list[str] = []
        self._over = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    server.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # clients hang up

        self.http = Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    # -- what a test does

    def put(self, path: str, namespace: str, name: str, **parts: Any) -> None:
        """Make an object, or another version of it."""
        with self._changed:
            self._version += 1
            key = (namespace, name)
            known = key in self._objects.setdefault(path, {})
            meta = {
                "name": name,
                "namespace": namespace,
                "resourceVersion": str(self._version),
                "annotations": parts.pop("annotations", {}),
                "managedFields": [{"manager": "kubectl"}],
            }
            self._objects[path][key] = {"metadata": meta, **parts}
            kind = "MODIFIED" if known else "ADDED"
            self._tell(path, kind, self._objects[path][key])

    def delete(self, path: str, namespace: str, name: str, *, silently: bool = False) -> None:
        """Remove an object; silently means that watches get no event, as after a compaction."""
        with self._changed:
            self._version += 1
            gone = self._objects[path].pop((namespace, name))
            meta = {**gone["metadata"], "resourceVersion": str(self._version)}
            if not silently:
                self._tell(path, "DELETED", {**gone, "metadata": meta})

    def bookmark(self, path: str) -> None:
        """Send the current version to all watches."""
        with self._changed:
            self._version += 1
            self._tell(path, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})

    def error(self, path: str, code: int) -> None:
        """Send an error to all watches, as if their version was compacted."""
        with self._changed:
            status = {"kind": "Status", "code": code, "reason": "Expired", "metadata": {}}
            self._tell(path, "ERROR", status)

    def end_watches(self) -> None:
        """Close all watches, as each API server does after some minutes."""
        with self._changed:
            self._epoch += 1
            self._changed.notify_all()

    def compact(self) -> None:
        """Forget the past: a watch or list that continues from an older version gets 410."""
        with self._changed:
            self.compacted = self._version

    def watching(self, path: str) -> int:
        """Return how many watches have begun."""
        return self._watches.count(path)

    def _tell(self, path: str, kind: str, item: dict[str, Any]) -> None:
        self._log.append((self._version, path, {"type": kind, "object": item}))
        self._changed.notify_all()

    # -- what it answers

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        split = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        self.asked.append((split.path, query))
        if handler.headers.get("Authorization") != f"Bearer {self.token}":
            self._refuse(handler, 401)
        elif split.path in self.refused:
            self._refuse(handler, self.refused[split.path])
        elif split.path not in self.served:
            self._refuse(handler, 404)
        elif query.get("watch") == "true":
            self._watch(handler, split.path, query)
        else:
            self._list(handler, split.path, query)

    def _refuse(self, handler: BaseHTTPRequestHandler, status: int) -> None:
        self._send(handler, status, {"kind": "Status", "status": "Failure", "code": status})

    def _send(self, handler: BaseHTTPRequestHandler, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        handler.send_response(status)
        if len(body) > _PACKED and "gzip" in handler.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _list(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        with self._changed:
            version = self._version
            items = list(self._objects.get(path, {}).values())
        start = 0
        if token := query.get("continue"):
            at, start = map(int, token.split("-"))
            if at < self.compacted:
                self._refuse(handler, 410)
                return
        limit = self.chunk or int(query["limit"])
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if start + limit < len(items):
            meta["continue"] = f"{version}-{start + limit}"
        self._send(handler, 200, {"metadata": meta, "items": items[start : start + limit]})

    def _watch(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        assert query["allowWatchBookmarks"] == "true"
        assert int(query["timeoutSeconds"]) > 0
        version = int(query["resourceVersion"])
        if version < self.compacted:
            self._refuse(handler, 410)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for event in self._events(path, version):
            line = json.dumps(event).encode() + b"\n"
            # In two pieces: an event need not come in one
            for part in (line[:20], line[20:]):
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")

    def _events(self, path: str, version: int) -> Iterator[dict[str, Any]]:
        with self._changed:
            epoch, seen = self._epoch, 0
            self._watches.append(path)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            with self._changed:
                if len(self._log) == seen and not self._over and self._epoch == epoch:
                    self._changed.wait(1)
                new, seen = self._log[seen:], len(self._log)
                ended = self._over or self._epoch != epoch
            for at, where, event in new:
                if where == path and at > version:
                    yield event
            if ended:
                return

    def stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()


@contextmanager
def api_server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
