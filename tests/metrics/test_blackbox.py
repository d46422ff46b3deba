"""Our exposition of a probe compared with that of Debian's blackbox_exporter."""

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from monitor.metrics.families import PROBE_FAMILIES
from monitor.metrics.scrape import probe_exposition
from monitor.model import GrpcAnswer, HttpAnswer, Reason, TcpAnswer
from tests.metrics.states import GRPC, HTTP, TCP, failed, result, site

_MODULES = """
modules:
  http: {prober: http, http: {preferred_ip_protocol: ip4}}
  tcp: {prober: tcp, tcp: {preferred_ip_protocol: ip4}}
  dns: {prober: dns, dns: {preferred_ip_protocol: ip4, query_name: a.test}}
  grpc: {prober: grpc, grpc: {preferred_ip_protocol: ip4}}
"""
_CHANGED_SINCE = {
    "probe_timeout_seconds",  # new
    "probe_failed_due_to_bytes",  # new
    "probe_ssl_earliest_cert_expiry",  # was 0 for gRPC without TLS
}
"""Between 0.23, which Debian 12 ships, and the version we follow."""
_START = 30.0


@pytest.fixture
def exporter(real, tmp_path):
    """A running exporter's address, which also serves as a target."""
    (tmp_path / "modules.yml").write_text(_MODULES)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        real("prometheus-blackbox-exporter"),
        f"--config.file={tmp_path / 'modules.yml'}",
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(address)
            yield address
        finally:
            process.kill()


def _wait_for(address: str) -> None:
    over = time.monotonic() + _START
    while True:
        try:
            _get(f"http://{address}/-/healthy")
        except urllib.error.URLError:
            if time.monotonic() > over:
                raise
            time.sleep(0.05)
        else:
            return


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_START) as answer:
        return str(answer.read(), "utf-8")


def _series(text: str) -> set[str]:
    return set(re.findall(r"^(probe_[^ ]+) ", text, re.MULTILINE))


@pytest.mark.real
@pytest.mark.parametrize(
    ("module", "seen"),
    [
        ("http", replace(HTTP, answer=HttpAnswer(status=200, version="1.1"), tls=None)),
        ("tcp", replace(TCP, answer=TcpAnswer())),
        ("dns", failed(Reason.CONNECT_REFUSED, address="127.0.0.1")),
        ("grpc", replace(GRPC, answer=GrpcAnswer(status_code=14), tls=None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_we_show_what_it_shows(exporter, module, seen):
    """For the same kind of check the series, HELP and TYPE are identical."""
    theirs = _get(f"http://{exporter}/probe?module={module}&target={exporter}")
    of = site(module)
    _, body = probe_exposition(of, result(of, seen), "")
    ours = body.decode()
    assert _series(ours) ^ _series(theirs) <= _CHANGED_SINCE
    metadata = "".join(family.header(openmetrics=False) for family in PROBE_FAMILIES)
    assert {line for line in theirs.splitlines() if line.startswith("#")} <= {
        *metadata.splitlines()
    }
