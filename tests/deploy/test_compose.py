"""config/compose: the monitor and the services around it, as docker-compose reads it."""

import json
import re
import subprocess

import pytest
import yaml

from monitor.app.tables import TABLES
from monitor.config.load import load
from tests.deploy.shipped import COMPOSE, PROMETHEUS, ROOT

SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
PLACES = yaml.safe_load((COMPOSE / "places.yaml").read_text())
_BOTH = [*SERVICES.values(), *PLACES["services"].values()]
_NAMES = [*SERVICES, *(f"places-{name}" for name in PLACES["services"])]

USERS = ("fra", "nyc", "hub", "setup")
each = pytest.mark.parametrize("service", _BOTH, ids=_NAMES)


@pytest.mark.real
def test_the_file_is_good(real):
    """docker-compose accepts it, and the shipped .env opens ports on loopback only."""
    done = subprocess.run(
        [real("docker-compose"), "config"], cwd=COMPOSE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    assert set(resolved["services"]) == {"monitor", "prometheus", "alertmanager", "grafana"}
    ports = [port for one in resolved["services"].values() for port in one["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


@pytest.mark.real
def test_the_form_with_two_places_is_good(real):
    """The monitor becomes the hub, and each daemon has its own folder and password."""
    done = subprocess.run(
        [real("docker-compose"), "-f", "compose.yaml", "-f", "places.yaml", "config"],
        cwd=COMPOSE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {*SERVICES, "nats", "setup", "fra", "nyc"}
    commands = {name: one["command"] for name, one in services.items() if "build" in one}
    assert commands == {
        "monitor": ["run", "--hub"],
        "fra": ["run", "--location", "fra"],
        "nyc": ["run", "--location", "nyc"],
        "setup": ["locations", "setup"],
    }
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports), ports
    data = [
        mount.split(":")[0]
        for name in ("monitor", "fra", "nyc", "nats")
        for mount in services[name]["volumes"]
        if "-data:" in mount
    ]
    assert len(set(data)) == 4
    for name in commands:
        user = services[name]["environment"]["NATS_USER"]
        assert user == ("hub" if name == "monitor" else name)
        assert [one["source"] for one in services[name]["secrets"]] == [f"nats-{user}"]
    assert set(PLACES["secrets"]) == {"nats-passwords", *(f"nats-{one}" for one in USERS)}


def test_the_list_of_the_places_is_good(tmp_path):
    """The program loads it, with the password in the file that compose mounts."""
    text = (COMPOSE / "places" / "list" / "sites.yaml").read_text()
    assert text.count("/run/secrets/nats-password}") == 1
    (tmp_path / "password").write_text("open-sesame\n")
    (tmp_path / "sites.yaml").write_text(
        text.replace("/run/secrets/nats-password", str(tmp_path / "password"))
    )
    listed = load(tmp_path / "sites.yaml", TABLES, {"NATS_USER": "fra"})
    assert listed.sites
    assert listed.settings.locations
    assert listed.settings.locations.nats.user == "fra"


@each
def test_services_are_confined(service):
    """Each has a read-only root, no capability or new privilege, and limits."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]


@each
def test_services_tell_their_health(service):
    """Each has a health check, its own or that of the image built here."""
    if "build" in service:
        dockerfile = COMPOSE / service["build"] / "Dockerfile"
        assert re.search(r"^HEALTHCHECK ", dockerfile.read_text(), re.MULTILINE)
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert ":" in service["image"]


@each
def test_what_is_mounted_is_there(service):
    """Our files and folders exist and are read-only; services write to volumes."""
    volumes = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["volumes"] | PLACES["volumes"]
    for mount in service["volumes"]:
        source, _, *mode = mount.split(":")
        if source.startswith("."):
            assert (COMPOSE / source).exists()
            assert mode == ["ro"]
        else:
            assert source in volumes


def test_the_programs_find_their_files():
    """Each --config.file is mounted, and the site list is where the image looks."""
    for name in ("prometheus", "alertmanager"):
        service = SERVICES[name]
        (config,) = (
            option.partition("=")[2]
            for option in service["command"]
            if option.startswith("--config.file=")
        )
        inside = {
            target: COMPOSE / source
            for source, target, *_ in (mount.split(":") for mount in service["volumes"])
        }
        held = [
            source / config.removeprefix(target).lstrip("/")
            for target, source in inside.items()
            if config.startswith(target)
        ]
        assert [path.is_file() for path in held] == [True]
    assert SERVICES["monitor"]["volumes"] == ["..:/config:ro", "monitor-data:/data"]
    listed = re.search(r"MONITOR_CONFIG=(/config\S*)", (ROOT / "Dockerfile").read_text())
    assert listed
    assert (ROOT / listed[1].lstrip("/")).exists()


def test_hosts_in_the_configurations_are_services():
    """Prometheus' targets, /sd and Alertmanager have the names of services."""
    for name in ("prometheus.yml", "scrape-metrics.yml", "scrape-sd.yml"):
        text = json.dumps(yaml.safe_load((PROMETHEUS / name).read_text()))
        hosts = set(re.findall(r"\b([a-z]+):(?:10115|9093)\b", text))
        assert hosts
        assert hosts <= set(SERVICES)
