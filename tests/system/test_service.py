"""The daemon under a service manager, where the test listens on systemd's socket."""

import signal
import socket

import pytest

from tests.waiting import PATIENCE, until


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        yield listener


def next_of(systemd, *starts):
    """Return the next message that begins with one of these, and skip the watchdog's."""
    while True:
        message = systemd.recv(4096).decode()
        if message.startswith(starts):
            return message


def test_a_service_manager_follows_the_daemon(start, systemd, tmp_path):
    """The manager gets READY with /-/ready, RELOADING and READY at each reload, then STOPPING."""
    sites = "sites: [{name: x, url: 'tcp://127.0.0.1:1', interval: 500ms, timeout: 400ms}]\n"
    daemon = start(sites, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
    states = ("READY", "RELOADING", "STOPPING")
    assert next_of(systemd, *states) == "READY=1"
    assert daemon.get("/-/ready")[0] == 200
    until(lambda: next_of(systemd, "WATCHDOG").endswith("STATUS=1 down"), "the status of the site")

    daemon.signal(signal.SIGHUP)
    assert next_of(systemd, *states).startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert next_of(systemd, *states) == "READY=1"

    bad = tmp_path / "bad"
    bad.write_text("sites: [nonsense]\n")
    bad.rename(daemon.sites)
    assert next_of(systemd, *states).startswith("RELOADING=1")
    assert next_of(systemd, *states) == "READY=1"
    until(
        lambda: next_of(systemd, "WATCHDOG").endswith("; the last reload was rejected"),
        "the status of the reload",
    )

    assert daemon.stop() == 0
    assert next_of(systemd, *states) == "STOPPING=1\nSTATUS=stopping"
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
