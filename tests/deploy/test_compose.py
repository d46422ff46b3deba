"""config/compose: the monitor and what stands around it, as docker-compose reads it."""

import json
import re
import subprocess

import pytest
import yaml

from tests.deploy.shipped import COMPOSE, PROMETHEUS, ROOT

SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


@pytest.mark.real
def test_the_file_is_good(real):
    """docker-compose finds no mistake in it, and the shipped .env opens no port to others."""
    done = subprocess.run(
        [real("docker-compose"), "config"], cwd=COMPOSE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)
    assert set(resolved["services"]) == {"monitor", "prometheus", "alertmanager", "grafana"}
    ports = [port for one in resolved["services"].values() for port in one["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name):
    """Each has a read-only root, no capability, no way to a new one, and bounds."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_tell_their_health(name):
    """Each has a health check: of its own, or the image's that is built here."""
    service = SERVICES[name]
    if "build" in service:
        dockerfile = COMPOSE / service["build"] / "Dockerfile"
        assert re.search(r"^HEALTHCHECK ", dockerfile.read_text(), re.MULTILINE)
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert ":" in service["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name):
    """Files and folders of ours exist and are read-only; what is written goes to volumes."""
    volumes = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["volumes"]
    for mount in SERVICES[name]["volumes"]:
        source, _, *mode = mount.split(":")
        if source.startswith("."):
            assert (COMPOSE / source).exists()
            assert mode == ["ro"]
        else:
            assert source in volumes


def test_the_programs_find_their_files():
    """What the commands point to is mounted, and so is the list where the image looks."""
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
    """Prometheus' targets, /sd and Alertmanager are named as the services are."""
    for name in ("prometheus.yml", "scrape-metrics.yml", "scrape-sd.yml"):
        text = json.dumps(yaml.safe_load((PROMETHEUS / name).read_text()))
        hosts = set(re.findall(r"\b([a-z]+):(?:10115|9093)\b", text))
        assert hosts
        assert hosts <= set(SERVICES)
