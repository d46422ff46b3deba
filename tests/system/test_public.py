"""What strangers see of a daemon that requires a log-in, over real sockets."""

import json
import re
import ssl
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import bcrypt
import pytest

from tests.narrowing import known
from tests.system.processes import Daemon, fetch
from tests.waiting import PATIENCE, free_port, until

SITES = """
analysis: {{workers: 1}}
defaults: {{interval: 1s, timeout: 900ms}}
sites:
  - {{name: shop, group: storefront, url: "tcp://127.0.0.1:{port}"}}
  - {{name: payroll, group: inner, url: "tcp://127.0.0.1:{port}"}}
pages:
  - {{path: /status, title: Example status, groups: [storefront], public: true}}
  - {{path: /inner, title: Inner, groups: [inner], public: {inner}}}
"""
FREE = [
    "/status",
    "/status/feed.atom",
    "/status/api/v2/summary.json",
    "/badges/shop/status.svg",
    "/badges/shop/uptime/30d.json",
]
PRIVATE = [
    *("/", "/inner", "/inner/feed.atom", "/badges/payroll/status.svg", "/badges/no/status.svg"),
    *("/metrics", "/api/v1/sites", "/sites/shop", "/config", "/status/api/v2/users.json"),
]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a daemon with a web configuration and a public listener."""
    started = []

    class Public(Daemon):
        """A daemon with a listener for strangers at ``public``."""

        @property
        def public(self) -> str:
            found = re.search(r"listen_public=(\S+)", self.log.read_text())
            return "http://" + known(found)[1]

    def start(web_config):
        (tmp_path / "web.yml").write_text(web_config)
        arguments = ["--web-config", tmp_path / "web.yml", "--listen-public", "127.0.0.1:0"]
        daemon = Public(
            tmp_path, SITES.format(port=free_port(), inner="false"), arguments=arguments
        )
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.kill()


def test_strangers_see_what_is_public_and_nothing_else(start):
    """Without the log-in, both listeners show public pages; the rest is 401 here, 404 there."""
    users = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    daemon = start(f"basic_auth_users: {{admin: '{users}'}}\n")
    until(lambda: "down" in fetch(daemon.public + "/badges/shop/status.svg")[1], "the first check")

    for path in FREE:
        for where in (daemon.url, daemon.public):
            status, text = fetch(where + path)
            assert status == 200, path
            assert "127.0.0.1" not in text.replace(where, "")
            assert "payroll" not in text
            assert "refused" not in text
    for path in PRIVATE:
        assert fetch(daemon.url + path)[0] == 401, path
        assert fetch(daemon.public + path) == (404, "There is nothing here.\n"), path


def test_an_outage_that_lasts_is_an_incident(start):
    """A site that is down has an incident on its page for as long as it is down."""
    daemon = start("basic_auth_users: {}\n")
    path = daemon.public + "/status/api/v2/incidents/unresolved.json"

    incident = until(lambda: json.loads(fetch(path)[1])["incidents"], "the incident")[0]
    assert (incident["name"], incident["resolved_at"]) == ("shop is down", None)
    assert "so far" in fetch(daemon.url + "/sites/shop")[1]
    assert f'id="{incident["id"]}"' in fetch(daemon.public + "/status")[1]


def test_a_reload_publishes(start):
    """A page that a reload publishes is there at once, for strangers too, without a restart."""
    daemon = start("basic_auth_users: {}\n")
    until(lambda: fetch(daemon.url + "/sites/payroll")[0] == 200, "the sites")
    assert fetch(daemon.public + "/inner")[0] == 404
    text = daemon.sites.read_text()
    daemon.sites.write_text(text.replace("public: false", "public: true"))
    assert fetch(daemon.url + "/-/reload", "POST")[0] == 200

    assert "payroll" in fetch(daemon.public + "/inner")[1]
    daemon.sites.write_text(text)
    assert fetch(daemon.url + "/-/reload", "POST")[0] == 200
    assert fetch(daemon.public + "/inner")[0] == 404


def test_strangers_need_no_certificate(start, ca, tmp_path):
    """Public pages have TLS without client certificates, even if all else requires them."""
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    daemon = start(
        f"tls_server_config: {{cert_file: own.pem, key_file: own.pem, client_ca_file: {ca.path},"
        " client_auth_type: RequireAndVerifyClientCert}\n"
    )
    context = ssl.create_default_context(cafile=ca.path)

    def ask(url):
        secure = url.replace("http://", "https://")
        with urlopen(Request(secure), timeout=PATIENCE, context=context) as answer:
            return answer.status

    assert until(lambda: ask(daemon.public + "/status"), "the page") == 200
    with pytest.raises(HTTPError):
        ask(daemon.public + "/metrics")
    with pytest.raises((OSError, ssl.SSLError)) as caught:
        ask(daemon.url + "/status")
    assert not isinstance(caught.value, HTTPError)


def test_a_public_address_that_is_taken(tmp_path):
    """A public address in use is reported like any other, and the daemon does not start."""
    daemon = Daemon(tmp_path, SITES.format(port=free_port(), inner="false"))
    taken = daemon.url.removeprefix("http://")
    folder = tmp_path / "second"
    folder.mkdir()
    try:
        with pytest.raises(AssertionError, match="the daemon ended: monitor: cannot listen on"):
            Daemon(
                folder,
                SITES.format(port=free_port(), inner="false"),
                arguments=["--listen-public", taken],
            )
    finally:
        daemon.kill()
