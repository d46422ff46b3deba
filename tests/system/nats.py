"""A real NATS server with JetStream, and the daemons of several places that use it."""

import json
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from monitor.locations.access import NatsAccess
from monitor.locations.stream import set_up
from tests.system.namespaces import Apart, Namespace
from tests.system.processes import Daemon
from tests.waiting import free_port, until

SIZE = 64 * 1024**2

SITES = """
locations:
  nats: {{servers: ["{nats}"]{login}}}
  quorum: {{down: 2, up: 2, minimum: 2}}
sites:
  - {{name: shop, url: "{url}", interval: 1s, timeout: 500ms, confirm: {{retry_interval: 200ms}}}}
{more}
"""


class Nats:
    """
    nats-server on its own port; a test may stop it and start it again.

    Args:
        namespace: Where it runs, reached by others at its address.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        more: str = "",
        scheme: str = "nats",
        namespace: Namespace | None = None,
    ) -> None:
        self._command = [*(namespace.wrapper if namespace else ()), program]
        self._folder = folder
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        host = "0.0.0.0" if namespace else "127.0.0.1"
        listen = "" if scheme in ("ws", "wss") else f"listen: {host}:{self.port}\n"
        (folder / "nats.conf").write_text(
            f'{listen}jetstream: {{store_dir: "{folder / "jetstream"}"}}\n{more}'
        )
        self.start()

    def start(self) -> None:
        with (self._folder / "nats.log").open("a") as log:
            self.process = subprocess.Popen(
                [*self._command, "-c", self._folder / "nats.conf"], stderr=log
            )

    def set_up(self, **login: Any) -> str:
        """Create the stream, once the server answers."""

        def attempt() -> str:
            try:
                return set_up(NatsAccess(servers=(self.url,), **login), SIZE)
            except Exception as error:
                raise OSError from error

        return until(attempt, "NATS' start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Places:
    """
    Daemons that share a list: places by their names, and a hub.

    Args:
        namespaces: Where they run, by name; all others run on this machine's own network.
    """

    def __init__(
        self, folder: Path, text: str, namespaces: Mapping[str, Namespace] | None = None
    ) -> None:
        self._folder = folder
        self.text = text
        self._namespaces = namespaces or {}
        self.daemons: dict[str, Daemon] = {}

    def start(self, name: str, *arguments: str, text: str | None = None, **environ: str) -> Daemon:
        """Start ``hub``, or a place; a second start uses the same folder as the first."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        role = ("--hub",) if name.startswith("hub") else ("--location", name.partition("-")[0])
        apart = self._namespaces.get(name)
        self.daemons[name] = (partial(Apart, apart) if apart else Daemon)(
            folder,
            text or self.text,
            arguments=(*role, *arguments),
            MONITOR_DATA=str(folder / "data"),
            **environ,
        )
        return self.daemons[name]

    def start_all(self, *names: str) -> list[Daemon]:
        return [self.start(name) for name in names]

    def log(self, name: str) -> str:
        return (self._folder / name / "daemon.log").read_text()

    def kill(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()


def votes(daemon: Daemon, site: str = "shop") -> Mapping[str, str]:
    """Return the vote of each place, or why it has none."""
    return votes_of(daemon.site(site))


def votes_of(found: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the same for one site, from the API's answer about it."""
    return {one["location"]: one["why_not"] or one["state"] for one in found["votes"] or []}


def says(daemon: Daemon, state: str, site: str = "shop") -> Callable[[], bool]:
    return lambda: bool(daemon.site(site)["state"] == state)


def results(daemon: Daemon, site: str = "shop") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        daemon.get(f"/api/v1/sites/{site}/results?limit=10000")[1]
    )["results"]
    return found
