"""Certificate authorities and peers for the tests of whole daemons."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from tests.history.postgres import Postgres, required
from tests.system.processes import Daemon, Moody, Nginx, Prometheus


class FiledAuthority(trustme.CA):
    """An authority whose certificate is in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.cert_pem.write_to_path(str(path))


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    """Return a private authority, whose certificate is in ``ca.path``."""
    return FiledAuthority(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture
def nginx(real, tmp_path, ca):
    folder = tmp_path / "nginx"
    folder.mkdir()
    server = Nginx(real("nginx"), folder, ca)
    yield server
    server.stop()


@pytest.fixture
def start(tmp_path):
    """Return a function that starts daemons; those still running at the end are killed."""
    daemons = []

    def start(sites: str, **environ: str) -> Daemon:
        daemon = Daemon(tmp_path, sites, **environ)
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()


@pytest.fixture
def prometheus(real, tmp_path):
    servers = []

    def start(daemon: Daemon, scrape_configs=None, sections=None) -> Prometheus:
        server = Prometheus(real("prometheus"), tmp_path, daemon, scrape_configs, sections)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def moody():
    with Moody() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def pg():
    """Start a PostgreSQL server for this test alone, which the test may stop and start."""
    required()
    with TemporaryDirectory(prefix="monitor-pg-") as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop()
