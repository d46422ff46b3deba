"""blackbox_exporter, and a client that requests checks of it as Prometheus does."""

import itertools
import json
import os
import re
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError
from tests.bench.fleet import Fleet
from tests.bench.wire import is_complete, text_of
from tests.system.processes import fetch
from tests.waiting import free_port, until

PROGRAM = "prometheus-blackbox-exporter"
_PIECE = 65536
_LONGEST_NAP: Seconds = 0.1


class Blackbox:
    """
    blackbox_exporter with one module.

    Args:
        http: The module's options of its HTTP prober.
        roots: The system's authorities, as it takes them; it reads them once.
    """

    def __init__(self, program: str, folder: Path, http: Mapping[str, Any], roots: Path) -> None:
        module = {
            "prober": "http",
            "timeout": "10s",
            "http": {"preferred_ip_protocol": "ip4", **http},
        }
        config = folder / "blackbox.yml"
        config.write_text(json.dumps({"modules": {"bench": module}}))  # JSON is YAML
        self.port = free_port()
        with (folder / "blackbox.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stderr=log,
                env={**os.environ, "SSL_CERT_FILE": str(roots)},
            )
        until(lambda: fetch(f"http://127.0.0.1:{self.port}/-/healthy"), "the exporter's start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the exporter said of one check.

    Attributes:
        asked: When the exporter was asked.
        lag: How long after the slot it was asked.
        raw: The answer as it came over the wire.
    """

    asked: Timestamp
    lag: Seconds
    raw: bytes

    @property
    def text(self) -> str:
        return text_of(self.raw)

    def value(self, series: str) -> float:
        """
        Return the value of a series.

        Raises:
            BenchError: It is not there.
        """
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.text, re.MULTILINE)
        if found is None:
            raise BenchError(f"blackbox_exporter's answer has no {series}: {self.text}")
        return float(found[1])

    def require_success(self) -> None:
        """
        Require that the check succeeded.

        Raises:
            BenchError: The check failed.
        """
        if self.value("probe_success") != 1:
            raise BenchError(f"a check of blackbox_exporter failed: {self.text}")


class Asker:
    """
    Requests the checks of a fleet at the times when the daemon would make them.

    Connections are kept, and the answer is asked for without gzip, which is the cheapest for the
    exporter. Runs for as long as the block lasts, in one thread and with as little ado as possible:
    it shares the processors with what is measured.

    Attributes:
        answers: The answers so far, in order of arrival.
    """

    def __init__(self, blackbox: Blackbox, fleet: Fleet) -> None:
        self.answers: list[Answer] = []
        query = urlencode({"module": "bench", "target": fleet.url})
        self._place = "127.0.0.1", blackbox.port
        self._request = f"GET /probe?{query} HTTP/1.1\r\nHost: {self._place[0]}\r\n\r\n".encode()
        self._moments = _moments(fleet, time.time())
        self._idle: list[_Question] = []
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            # Unlike epoll's, the timeout of select is not in whole milliseconds
            with ExitStack() as sockets, selectors.SelectSelector() as selector:
                self._ask(sockets, selector)
        except Exception as error:
            self._failure = error

    def _ask(self, sockets: ExitStack, selector: selectors.BaseSelector) -> None:
        moment = next(self._moments)
        while not self._over.is_set():
            left = moment - time.time()
            if left <= 0:
                question = self._idle.pop() if self._idle else None
                if question is None:
                    sock = sockets.enter_context(socket.create_connection(self._place))
                    question = _Question(sock)
                    selector.register(sock, selectors.EVENT_READ, question)
                question.ask(self._request, moment)
                moment = next(self._moments)
            # The last connection that answered is the first to be used again
            for key, _ in selector.select(min(max(0, left), _LONGEST_NAP)):
                question = key.data
                answer = question.listen()
                if answer is not None:
                    self.answers.append(answer)
                    self._idle.append(question)


class _Question:
    """A connection, and the request in progress on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._asked: Timestamp = 0
        self._lag: Seconds = 0
        self._heard = b""

    def ask(self, request: bytes, due: Timestamp) -> None:
        self._asked = time.time()
        self._lag = self._asked - due
        self._heard = b""
        self._sock.sendall(request)

    def listen(self) -> Answer | None:
        """Read what has come, and return the answer once it is complete."""
        piece = self._sock.recv(_PIECE)
        if not piece:
            raise BenchError("blackbox_exporter closed a connection that was to be kept")
        self._heard += piece
        return Answer(self._asked, self._lag, self._heard) if is_complete(self._heard) else None


def _moments(fleet: Fleet, since: Timestamp) -> Iterator[Timestamp]:
    """Yield the times at which checks are due, without end."""
    phases = sorted(fleet.phases.values())
    for lap in itertools.count(int(since // fleet.interval)):
        for phase in phases:
            moment = lap * fleet.interval + phase
            if moment >= since:
                yield moment
