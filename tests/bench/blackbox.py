"""blackbox_exporter, and what asks it for checks as Prometheus does."""

import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError
from tests.bench.fleet import Fleet
from tests.system.processes import fetch, free_port, until

PROGRAM = "prometheus-blackbox-exporter"
_ASKERS = 96
"""Threads that ask, each over a connection of its own: as many checks may be under way."""
_PATIENCE: Seconds = 30.0


class Blackbox:
    """
    blackbox_exporter with one module.

    Args:
        http: The module's options of its HTTP prober.
    """

    def __init__(self, program: str, folder: Path, http: Mapping[str, Any]) -> None:
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
        asked: When it was asked.
        lag: How long after the slot.
    """

    asked: Timestamp
    lag: Seconds
    text: str

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
        See that the check succeeded.

        Raises:
            BenchError: It did not.
        """
        if self.value("probe_success") != 1:
            raise BenchError(f"a check of blackbox_exporter failed: {self.text}")


class Asker:
    """
    Asks for the checks of a fleet at the very moments when the daemon would make them.

    Connections are kept, and the answer is asked for without gzip, which is the cheapest for the
    exporter. Runs for as long as the block lasts.
    """

    def __init__(self, blackbox: Blackbox, fleet: Fleet) -> None:
        self.answers: list[Answer] = []
        self._blackbox = blackbox
        self._path = f"/probe?{urlencode({'module': 'bench', 'target': fleet.url})}"
        self._moments = _moments(fleet, time.time())
        self._lock = threading.Lock()  # guards _moments
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._threads = [threading.Thread(target=self._run) for _ in range(_ASKERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._blackbox.port, timeout=_PATIENCE)
        try:
            while not self._over.is_set():
                with self._lock:
                    moment = next(self._moments)
                if self._over.wait(max(0.0, moment - time.time())):
                    break
                asked = time.time()
                connection.request("GET", self._path)
                text = connection.getresponse().read().decode()
                self.answers.append(Answer(asked, asked - moment, text))
        except Exception as error:
            self._failure = error
        finally:
            connection.close()


def _moments(fleet: Fleet, since: Timestamp) -> Iterator[Timestamp]:
    """Yield when checks are due, for ever."""
    phases = sorted(fleet.phases.values())
    for lap in itertools.count(int(since // fleet.interval)):
        for phase in phases:
            moment = lap * fleet.interval + phase
            if moment >= since:
                yield moment
