"""``monitor healthcheck`` as a container's engine runs it, against real daemons."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import trustme

from tests.system.processes import Daemon
from tests.waiting import free_port

_SITES = "sites: [{name: self, url: 'http://127.0.0.1:9/', interval: 1h}]"


def healthcheck(*args: str, **environ: str):
    return subprocess.run(
        [sys.executable, "-m", "monitor", "healthcheck", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )


@pytest.fixture
def start(tmp_path):
    """Return a function that starts daemons on $MONITOR_LISTEN; the test's end kills them."""
    daemons = []

    def start(listen: str, *arguments: str) -> Daemon:
        daemon = Daemon(tmp_path, _SITES, arguments=("--listen", listen, *arguments))
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.signal(signal.SIGCONT)
        daemon.kill()


@pytest.fixture
def web_config(tmp_path):
    """Write a web configuration with an untrusted certificate, and further keys."""

    def write(keys: str = "") -> str:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        certificate = authority.issue_cert("monitor.example")
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
        path = tmp_path / "web.yml"
        path.write_text(
            f"tls_server_config: {{cert_file: {tmp_path}/server.pem, "
            f"key_file: {tmp_path}/server.pem{keys}}}"
        )
        return str(path)

    return write


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "localhost"])
def test_a_daemon_that_lives(start, host):
    """It prints nothing and exits with 0, wherever a daemon listens, also by $MONITOR_LISTEN."""
    listen = f"{host}:{free_port()}"
    start(listen)
    done = healthcheck("--listen", listen)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert healthcheck(MONITOR_LISTEN=f"{listen} 127.0.0.1:1").returncode == 0


def test_a_daemon_on_a_unix_socket(start, tmp_path):
    """The path of a Unix socket is accepted as an address."""
    listen = f"unix:{tmp_path}/web.sock"
    start(listen)
    assert healthcheck("--listen", listen).returncode == 0


@pytest.mark.parametrize(
    "keys",
    [
        "",
        ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: {folder}/ca.pem",
        (
            ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: {folder}/ca.pem, "
            "max_version: TLS12"
        ),
    ],
    ids=["server", "clients", "clients-of-1.2"],
)
def test_a_daemon_that_speaks_tls(start, web_config, tmp_path, keys):
    """A daemon is healthy with any certificate, and even if it wants a client certificate."""
    listen = f"127.0.0.1:{free_port()}"
    start(listen, "--web-config", web_config(keys.format(folder=tmp_path)))
    done = healthcheck("--listen", listen)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_that_is_gone():
    """A missing daemon gets one sentence with the address and the reason, and status 1."""
    done = healthcheck("--listen", "127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == (
        "monitor: the daemon on 127.0.0.1:1 is not healthy: Connection refused\n"
    )


def test_a_daemon_that_hangs(start):
    """A program that accepts and never answers is not healthy, and the check soon gives up."""
    listen = f"127.0.0.1:{free_port()}"
    daemon = start(listen)
    daemon.signal(signal.SIGSTOP)
    done = healthcheck("--listen", listen)
    assert done.returncode == 1
    assert "is not healthy: it did not answer within 3s" in done.stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "it answered 'HTTP/1.1 503 Service"),
        (b"220 mail.example ESMTP\r\n", "another program"),
    ],
    ids=["unhealthy", "no-daemon"],
)
def test_what_answers_otherwise(answer, reason):
    """Another status, or another program's answer, is not a healthy daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "monitor", "healthcheck", "--listen", address]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                listener.settimeout(1)
                try:
                    sock, _ = listener.accept()
                except TimeoutError:
                    continue
                with sock:
                    sock.recv(1000)
                    sock.sendall(answer)
            assert process.stderr is not None
            said = process.stderr.read()
    assert process.returncode == 1
    assert reason in said


def test_an_address_that_is_none():
    """A bad --listen gets the message that run gives, and status 1: engines reserve 2."""
    done = healthcheck("--listen", "nonsense")
    assert done.returncode == 1
    assert "write HOST:PORT, [IPV6]:PORT, :PORT for every address" in done.stderr
