"""Running containers of Docker, or Podman, by their labels; runs in the source's thread."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

from monitor.discovered import ListedSite, Source
from monitor.sources.options import DockerOptions
from monitor.sources.ports import Look, UnreadableError, WatchedSource, World
from monitor.units import Bytes, Seconds

_PREFIX = "monitor."
_URL = "monitor.url"
_LARGEST: Bytes = 16 * 1024**2
_TIMEOUT: Seconds = 10.0
_QUIET: Seconds = 0.2
"""A container that is replaced causes several events in a row."""
_RETRY: Seconds = 5.0
_PAUSE: Seconds = 1.0
"""The pause after the event stream broke off."""
_EVENTS = ("start", "die", "destroy", "rename", "update", "pause", "unpause")
_COMPOSE = {
    "com.docker.compose.project": "compose_project",
    "com.docker.compose.service": "compose_service",
}


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: Seconds) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Docker(WatchedSource):
    """The mutable state belongs to the source's thread, except the event that ends a wait."""

    def __init__(self, source: Source, options: DockerOptions, world: World) -> None:
        self._source = source
        self._options = options
        self._world = world
        self._over = threading.Event()
        self._events: http.client.HTTPConnection | None = None
        # Read line by line; of the connection above
        self._stream: http.client.HTTPResponse | None = None

    def look(self) -> Look:
        try:
            # Before the list, so that no change is missed
            if self._stream is None:
                self._listen()
            containers = self._containers()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._hang_up()
            raise UnreadableError(f"{self._options.host}: {_why(error)}") from None
        except UnreadableError:
            self._hang_up()
            raise
        return Look({"": tuple(self._entries(containers))})

    def wait(self) -> None:
        self._wait()
        if self._over.is_set():
            self._hang_up()

    def _wait(self) -> None:
        if self._stream is None:
            self._over.wait(_RETRY)
            return
        if self._is_told(self._options.refresh):
            # The rest of a burst
            until = time.monotonic() + _QUIET
            while (left := until - time.monotonic()) > 0 and self._is_told(left):
                pass

    def close(self) -> None:
        self._over.set()
        events = self._events
        if events is not None and events.sock is not None:
            with suppress(OSError):
                events.sock.shutdown(socket.SHUT_RDWR)

    # -- events

    def _listen(self) -> None:
        filters = json.dumps({"type": ["container"], "event": list(_EVENTS)})
        self._events = self._connection()
        self._stream = self._ask(self._events, f"/events?filters={quote(filters)}")

    def _is_told(self, seconds: Seconds) -> bool:
        """Return whether an event came within this time; if not, events are requested again."""
        if self._stream is None or self._events is None or self._over.is_set():
            return False
        try:
            if self._events.sock is not None:
                self._events.sock.settimeout(max(seconds, 0.001))
            if self._stream.readline(_LARGEST):
                return True
            self._over.wait(_PAUSE)
        except TimeoutError:
            pass  # after that, nothing more can be read from it
        except (OSError, http.client.HTTPException, ValueError):
            self._over.wait(_PAUSE)
        self._hang_up()
        return False

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._events is not None:
            self._events.close()
        self._events = self._stream = None

    # -- requests

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._options.host)
        if parts.scheme == "unix":
            return _Unix(parts.path, _TIMEOUT)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        return kind(parts.netloc, timeout=_TIMEOUT)

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
        connection.request("GET", path, headers={"Host": "docker"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise UnreadableError(
                f"{self._options.host} answers {path.partition('?')[0]} with status {answer.status}"
            )
        return answer

    def _containers(self) -> list[Any]:
        filters = json.dumps({"label": [_URL], "status": ["running"]})
        connection = self._connection()
        try:
            answer = self._ask(connection, f"/containers/json?filters={quote(filters)}")
            body = answer.read(_LARGEST + 1)
        finally:
            connection.close()
        if len(body) > _LARGEST:
            raise UnreadableError(f"{self._options.host} lists more than {_LARGEST // 1024**2}MiB")
        try:
            containers = json.loads(body)
        except (ValueError, RecursionError):
            containers = None
        if not isinstance(containers, list):
            raise UnreadableError(f"{self._options.host} answers with something else than a list")
        return containers

    # -- from containers to sites

    def _entries(self, containers: list[Any]) -> Iterator[ListedSite]:
        for container in containers:
            labels = container.get("Labels") if isinstance(container, dict) else None
            if not isinstance(labels, dict) or _URL not in labels:
                continue
            names = container.get("Names") or [str(container.get("Id", ""))[:12]]
            name = str(names[0]).removeprefix("/")
            place = f"container {name}"
            try:
                keys = _keys(labels, self._world)
            except ValueError as error:
                yield ListedSite({}, place, str(error))
                continue
            own = keys.get("labels")
            composed = {
                short: str(labels[label]) for label, short in _COMPOSE.items() if label in labels
            }
            keys["labels"] = {
                "source": self._source.name,
                "container": name,
                **composed,
                **(own if isinstance(own, dict) else {}),
            }
            keys.setdefault("name", str(labels.get("monitor.name", name)))
            yield ListedSite(keys, place)


def _keys(labels: Mapping[str, Any], world: World) -> dict[str, Any]:
    """
    Return the keys of a site from labels; dots lead into sections.

    Raises:
        ValueError: A label is not YAML, or is both a value and a section.
    """
    keys: dict[str, Any] = {}
    for label, text in sorted(labels.items()):
        if not label.startswith(_PREFIX) or not isinstance(text, str):
            continue
        path = label.removeprefix(_PREFIX).split(".")
        is_text = path[0] in ("url", "name", "group", "labels")
        value = text if is_text else world.read_yaml(text.encode(errors="replace"), label)
        section = keys
        for step in path[:-1]:
            below = section.setdefault(step, {})
            if not isinstance(below, dict):
                raise ValueError(f"{label}: a label above it gives this section a value already")
            section = below
        section[path[-1]] = value
    return keys


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def open_source(source: Source, world: World) -> WatchedSource:
    """Return the reader of a source of this kind."""
    return _Docker(source, source.options, world)
