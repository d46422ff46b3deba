"""Real programs that system tests start, all on loopback: the daemon, nginx, Prometheus."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import trustme

from tests.waiting import PATIENCE, free_port, until

_LAST_YEAR = datetime.now(UTC) - timedelta(days=365)


def fetch(url: str, method: str = "GET", headers: Mapping[str, str] | None = None):
    """Return status and text; a status of 400 or more is returned like any other."""
    request = Request(url, method=method, headers=dict(headers or {}))
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Daemon:
    """
    ``monitor run`` as a user starts it, in a folder of its own, with *arguments* in addition.

    Its data folder is a new one unless MONITOR_DATA names another.

    Args:
        python: The interpreter of another build's environment.
        wrapper: What its command begins with.
    """

    def __init__(
        self,
        folder: Path,
        sites: str,
        *,
        arguments: Sequence[str] = (),
        python: str = sys.executable,
        wrapper: Sequence[str] = (),
        **environ: str,
    ) -> None:
        self.sites = folder / "sites.yaml"
        self.sites.write_text(sites)
        self.log = folder / "daemon.log"
        command: list[str | Path] = [
            *wrapper,
            *(python, "-m", "monitor", "run", "--config", self.sites),
            *("--listen", "127.0.0.1:0"),
            *arguments,
        ]
        environ = {"MONITOR_DATA": mkdtemp(dir=folder), **environ}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stderr=log, cwd=folder, env={**os.environ, **environ}
            )
        try:
            self.url = f"http://{until(self._address, 'the start')}"
            if "--web-config" not in arguments:  # the history is read before the first check
                until(lambda: self.get("/-/ready")[0] == HTTPStatus.OK, "being ready")
        except BaseException:
            self.kill()
            raise

    def _address(self) -> str:
        said = self.log.read_text()
        assert self.process.poll() is None, f"the daemon ended: {said}"
        started = re.search(r"listen=([^\s,]+)", said)  # the daemon's own address comes first
        return started[1] if started else ""

    def logged(self, *texts: str) -> str:
        """Return the log once it has these texts; a thread writes it after the event."""

        def complete() -> str:
            said = self.log.read_text()
            return said if all(text in said for text in texts) else ""

        return until(complete, f"{texts} in the log")

    def get(self, path: str):
        return fetch(self.url + path)

    def metrics(self) -> dict[str, float]:
        """Return every sample of the text format, by its name and labels as they are written."""
        _, text = self.get("/metrics")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def site(self, name: str) -> dict[str, Any]:
        detail: dict[str, Any] = json.loads(self.get(f"/api/v1/sites/{name}")[1])
        return detail

    def sites_by_name(self) -> dict[str, dict[str, Any]]:
        listed = json.loads(self.get("/api/v1/sites")[1])["sites"]
        return {one["name"]: one for one in listed}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """Return the analysis processes, which are the forkserver's children."""
        tree: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            tree.setdefault(int(fields[1]), []).append(int(path.parent.name))
        children = tree.get(self.process.pid, [])
        return [worker for child in children for worker in tree.get(child, [])]

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Nginx:
    """A web server with the good and the bad pages of a small company."""

    def __init__(self, program: str, folder: Path, ca: trustme.CA) -> None:
        self.port = free_port()
        self.tls_port = free_port()
        self.expired_port = free_port()
        for name, certificate in {
            "good": ca.issue_cert("127.0.0.1", "localhost", "*.nginx.example"),
            "expired": ca.issue_cert("127.0.0.1", not_after=_LAST_YEAR),
        }.items():
            certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
        config = folder / "nginx.conf"
        config.write_text(self._config(folder))
        self.process = subprocess.Popen(
            [program, "-p", folder, "-c", config, "-e", folder / "error.log"]
        )
        until(lambda: fetch(f"http://127.0.0.1:{self.port}/"), "nginx's start")

    def _config(self, folder: Path) -> str:
        tls = (
            "ssl_protocols TLSv1.3; ssl_certificate {0}/{1}.pem; ssl_certificate_key {0}/{1}.pem;"
            "ssl_session_cache off; ssl_session_tickets off;"  # each check is a full handshake
        )
        listeners = {
            f"{self.port}": "",
            f"{self.tls_port} ssl": tls.format(folder, "good"),
            f"{self.expired_port} ssl": tls.format(folder, "expired"),
        }
        servers = "".join(
            f"server {{ listen 127.0.0.1:{listen} backlog=4096; {keys} {_PAGES} }}\n"
            for listen, keys in listeners.items()
        )
        (folder / "slow.txt").write_text("slow\n" * 40)
        return f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off; pid {folder}/nginx.pid; worker_processes 1;
            events {{ worker_connections 4096; }}
            http {{
              access_log off; root {folder}; default_type text/plain;
              client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
              fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
              scgi_temp_path {folder}/t5;
              {servers}
            }}
        """

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


_PAGES = """
    location = / { return 200 "all is well\\n"; }
    location = /slow.txt { limit_rate 200; }
    location = /500 { return 500 "sorry\\n"; }
    location = /one { return 302 /two; }
    location = /two { return 302 /three; }
    location = /three { return 302 /; }
    location = /loop { return 302 /loop; }
    location = /maintenance { return 200 "down for maintenance\\n"; }
    location = /status { stub_status; }
"""


class Prometheus:
    """
    A Prometheus that scrapes one daemon every second.

    Args:
        scrape_configs: As in its configuration; without any, it scrapes ``/metrics``.
        sections: More of its configuration: rule files, Alertmanagers.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        daemon: Daemon,
        scrape_configs: list[dict[str, Any]] | None = None,
        sections: Mapping[str, Any] | None = None,
    ) -> None:
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            json.dumps(  # JSON is YAML
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "scrape_configs": scrape_configs
                    or [
                        {
                            "job_name": "monitor",
                            "static_configs": [{"targets": [daemon.url.removeprefix("http://")]}],
                        }
                    ],
                    **(sections or {}),
                }
            )
        )
        with (folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stderr=log,
                stdout=log,
            )

    def query(self, expression: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/api/v1/query?query={quote(expression)}"
        status, text = fetch(url)
        if status != HTTPStatus.OK:
            return []  # it answers in plain text while it starts
        found: list[dict[str, Any]] = json.loads(text)["data"]["result"]
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Alertmanager:
    """An Alertmanager alone, with a configuration as it is written in a file."""

    def __init__(self, program: str, folder: Path, config: Path) -> None:
        self.port = free_port()
        self._log = folder / "alertmanager.log"
        self._command = [
            program,
            f"--config.file={config}",
            f"--storage.path={folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        self.start()

    def start(self) -> None:
        """Start it, or start it again after a kill, after which it has forgotten its alerts."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log)

    def alerts(self) -> list[dict[str, Any]]:
        """
        Return the alerts that fire, those that are silenced or inhibited too.

        Raises:
            OSError: It does not answer, or not yet; "no alert" is an answer.
        """
        status, text = fetch(f"http://127.0.0.1:{self.port}/api/v2/alerts")
        if status != HTTPStatus.OK:
            raise ConnectionError(f"Alertmanager answers with status {status}")
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Moody(HTTPServer):
    """
    Answers with 200, with 503 while the test asks for that, or with each in turn.

    Attributes:
        answers: The moment of each answer, and whether it was 200.
    """

    def __init__(self, host: str = "127.0.0.1"):
        super().__init__((host, 0), _Answer)
        self.mood = "well"
        self.count = 0
        self.answers: list[tuple[float, bool]] = []
        self.url = f"http://{host}:{self.server_port}/"


class _Answer(BaseHTTPRequestHandler):
    server: Moody

    def do_GET(self):
        server = self.server
        server.count += 1
        sick = server.mood == "sick" or (server.mood == "moody" and server.count % 2)
        server.answers.append((time.time(), not sick))
        self.send_response(503 if sick else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Hook(ThreadingHTTPServer):
    """
    A webhook that takes every message, after a delay.

    Attributes:
        taken: The key of each message in order, and what it says about each site.
        senders: Who sent each of them: its header "X-Life".
    """

    daemon_threads = True

    def __init__(self, pause: float = 0.0):
        super().__init__(("127.0.0.1", 0), _Taking)
        self.pause = pause
        self.taken: list[tuple[str, dict[str, str]]] = []
        self.senders: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def said(self, site: str) -> list[str]:
        """Return what messages said about a site, each message once."""
        first = {key: told[site] for key, told in reversed(self.taken) if site in told}
        return list(reversed(first.values()))

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Taking(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        down = [one for one in body["alerts"] if one["labels"]["alertname"] == "SiteDown"]
        told = {one["labels"]["site"]: one["status"] for one in down}
        self.server.senders.append(self.headers.get("x-life", ""))
        self.server.taken.append((self.headers["idempotency-key"], told))
        time.sleep(self.server.pause)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass
