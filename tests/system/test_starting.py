"""Signals that a daemon gets while it still reads its sites."""

import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.waiting import PATIENCE, until

IN_OPEN = 0x20


def watch_opening(path: Path) -> BinaryIO:
    """Return a stream that becomes readable once the file is opened."""
    libc = ctypes.CDLL(None)
    told = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(told, bytes(path), IN_OPEN) > 0
    return os.fdopen(told, "rb")


@pytest.fixture
def reading(tmp_path):
    """Start a daemon that has just opened its list of 5,000 sites; yields it and its log."""
    sites = tmp_path / "sites.yaml"
    lines = [f"- {{name: site-{number}, url: 'tcp://127.0.0.1:1'}}\n" for number in range(5000)]
    sites.write_text("".join(["defaults: {interval: 1h}\n", "sites:\n", *lines]))
    command = (sys.executable, "-m", "monitor", "run", "--config", sites, "--listen", "127.0.0.1:0")
    log = tmp_path / "daemon.log"
    with (
        watch_opening(sites) as opened,
        log.open("w") as stream,
        subprocess.Popen(command, stderr=stream) as process,
    ):
        try:
            assert select.select([opened], [], [], PATIENCE)[0], "the list was not opened"
            yield process, log
        finally:
            process.kill()


def test_a_reload_is_done_after_the_start(reading):
    """A reload signal during the start does not end the daemon, and is obeyed after the start."""
    process, log = reading
    process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded cause=signal" in log.read_text(), "the reload")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_needs_no_start(reading, number):
    """A stop signal during the start ends the daemon with status 0 and without a traceback."""
    process, log = reading
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in log.read_text()
