"""The nats-server.conf of docs/locations.md on a real server: least rights, TLS, no secrets."""

import re
from pathlib import Path

import pytest
import trustme

from monitor.clock import SystemClock
from monitor.errors import StartupError
from monitor.locations.access import NatsAccess
from monitor.locations.stream import look, set_up
from tests.system.nats import SITES, SIZE, Nats, Places, says, votes
from tests.waiting import until

pytestmark = pytest.mark.real

DOCS = Path(__file__).parent.parent.parent / "docs" / "locations.md"
USERS = ("fra", "nyc", "sin", "hub", "setup")


@pytest.fixture
def ca(tmp_path):
    found = trustme.CA()
    found.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = found.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    return tmp_path / "ca.pem"


def documented(folder: Path) -> str:
    """Return the configuration as a reader copies it, with the reader's own values filled in."""
    found: list[str] = re.findall(
        r'^```conf title="nats-server.conf"\n(.*?)^```', DOCS.read_text(), re.DOTALL | re.MULTILINE
    )
    [text] = found
    for line in (
        "listen: 0.0.0.0:4222\n",
        "jetstream { store_dir: /var/lib/nats, max_file_store: 2GiB }\n",
    ):
        assert line in text
        text = text.replace(line, "")
    text = text.replace("/etc/nats", str(folder))
    for user in USERS:
        text = text.replace(f"${user.upper()}_PASSWORD", f"open-sesame-{user}")
    return text


def test_least_rights_are_enough_over_tls(real, tmp_path, moody, ca):
    """Places and hub work with least rights, no place can pose as another, no secret is kept."""
    server = Nats(real("nats-server"), tmp_path, documented(tmp_path), scheme="tls")

    def access(user: str) -> NatsAccess:
        return NatsAccess(
            servers=(server.url,), user=user, password=f"open-sesame-{user}", ca_file=str(ca)
        )

    def text(user: str) -> str:
        login = f', user: {user}, password: "${{NATS_PASSWORD}}", tls: {{ca_file: "{ca}"}}'
        listed = SITES.format(nats=server.url, url=moody.url, login=login, more="")
        secret = 'http: {headers: {X-Key: "${SITE_KEY}"}}, interval: 1s'
        return listed.replace("interval: 1s", secret)

    places = Places(tmp_path, "")
    try:
        server.set_up(user="setup", password="open-sesame-setup", ca_file=str(ca))
        with pytest.raises(StartupError, match="NATS"):
            set_up(access("fra"), SIZE)
        for name in ("fra", "nyc", "hub"):
            places.start(
                name,
                text=text(name),
                NATS_PASSWORD=f"open-sesame-{name}",
                SITE_KEY="swordfish-of-the-site",
            )
        hub = places.daemons["hub"]
        moody.mood = "sick"
        until(says(hub, "down"), "the outage")
        assert votes(hub) == {"fra": "down", "nyc": "down"}
        # A place that uses another's rights is not heard under its own name
        places.start(
            "sin",
            text=text("nyc"),
            NATS_PASSWORD="open-sesame-nyc",
            SITE_KEY="swordfish-of-the-site",
        )
        until(lambda: "ermission" in places.log("sin"), "the refusal")
        found = look(access("hub"), SystemClock())
        assert found.messages > 0
        assert {beat.sender.location for beat, _ in found.beats} == {"fra", "nyc"}
        assert [one.partition for one in found.readings or ()] == [1, 2, 3, 4]
        assert max(one.last for one in found.readings or ()) > 0
        assert "sin" not in votes(hub)
    finally:
        places.kill()
        server.stop()
    kept = b"".join(
        path.read_bytes() for path in (tmp_path / "jetstream").rglob("*") if path.is_file()
    )
    assert b"status 503" in kept
    logs = "".join(map(places.log, places.daemons))
    for secret in ("swordfish", "open-sesame"):
        assert secret.encode() not in kept
        assert secret not in logs
    assert moody.url.encode() not in kept
