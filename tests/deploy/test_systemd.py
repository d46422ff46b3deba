"""config/systemd: the unit, as systemd's own tools see it."""

import json
import subprocess
import sys
from configparser import RawConfigParser
from typing import Any

import pytest

from monitor.config.settings import Settings
from tests.deploy.shipped import ROOT

UNIT = ROOT / "config" / "systemd" / "monitor.service"


@pytest.fixture
def service():
    """The unit's [Service] section; of repeated keys, the last."""
    parser: Any = RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


def test_systemd_has_nothing_to_say_of_the_unit(real, tmp_path):
    """systemd-analyze verify knows every key and accepts every value."""
    unit = tmp_path / UNIT.name
    # systemd checks that the program exists, and in a test it is elsewhere
    unit.write_text(UNIT.read_text().replace("/opt/monitor/bin/monitor", sys.executable))
    done = subprocess.run(
        [real("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_as_little_exposed_as_the_docs_say(real):
    """systemd-analyze security leaves exactly these points open."""
    command = [real("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*command, "--threshold=11", "--json=short", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = {row["json_field"] for row in json.loads(done.stdout) if row["set"] is False}
    assert left == {
        "RestrictAddressFamilies_AF_INET_INET6",
        "RestrictAddressFamilies_AF_UNIX",
        "RestrictAddressFamilies_AF_NETLINK",
        "PrivateNetwork",
        "IPAddressDeny",
        "ProcSubset",
        "RootDirectoryOrRootImage",
        "DeviceAllow",
    }


def test_a_stop_has_the_time_that_the_daemon_takes(service):
    """systemd waits longer for a stop than the default of shutdown_grace."""
    assert float(service["TimeoutStopSec"].removesuffix("s")) > Settings().shutdown_grace


def test_the_daemon_is_asked_for_what_it_tells(service):
    """The unit expects readiness and watchdog messages; other tests show the daemon sends them."""
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"].removesuffix("s")) > 0
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
