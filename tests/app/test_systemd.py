"""What the service manager is sent, over real sockets that the tests listen on in its place."""

import logging
import os
import socket
import time
from concurrent.futures import Future
from contextlib import ExitStack
from queue import SimpleQueue

import pytest

from monitor.app.systemd import ServiceManager
from tests.waiting import PATIENCE

QUICK = {"WATCHDOG_USEC": "20000"}
"""Twenty milliseconds: two messages in each."""


@pytest.fixture
def systemd(tmp_path):
    """Return a function that listens on an address; by default on a path."""
    with ExitStack() as stack:

        def listen(address=str(tmp_path / "notify")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            listener.bind(address.replace("@", "\0"))
            listener.settimeout(PATIENCE)
            return Systemd(address, listener)

        yield listen


class Systemd:
    def __init__(self, address, listener):
        self.listener = listener
        self.environ = {"NOTIFY_SOCKET": address}

    def read(self):
        """Return the lines of the next message."""
        return self.listener.recv(4096).decode().split("\n")

    def is_silent(self):
        self.listener.setblocking(False)
        try:
            return not self.listener.recv(4096)
        except BlockingIOError:
            return True


def alive():
    future: Future[None] = Future()
    future.set_result(None)
    return future


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_states_of_a_daemon(systemd, kind):
    """They are ready, reloading with the time it began, ready again, and stopping, then nothing."""
    there = systemd() if kind == "path" else systemd(f"@monitor-test-{os.getpid()}")
    manager = ServiceManager(there.environ)

    manager.ready()
    assert there.read() == ["READY=1"]
    before = time.monotonic_ns() // 1000
    manager.reloading()
    reloading, moment = there.read()
    assert reloading == "RELOADING=1"
    name, _, value = moment.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000
    manager.ready()
    assert there.read() == ["READY=1"]
    manager.stopping()
    assert there.read() == ["STOPPING=1", "STATUS=stopping"]
    manager.ready()
    manager.reloading()
    assert there.is_silent()


@pytest.mark.parametrize(
    "environ",
    [QUICK, {**QUICK, "WATCHDOG_PID": str(os.getpid())}],
    ids=["anybody", "this process"],
)
def test_a_watchdog_hears_that_the_loop_turns(systemd, environ):
    """It gets regular messages, each with the current status."""
    there = systemd()
    manager = ServiceManager({**there.environ, **environ})
    manager.watch(alive, lambda: "3 up, 1 down")
    for _ in range(3):
        assert there.read() == ["WATCHDOG=1", "STATUS=3 up, 1 down"]
    manager.stopping()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {**QUICK, "WATCHDOG_PID": str(os.getppid())},
    ],
    ids=["none", "off", "broken", "another process"],
)
def test_without_a_watchdog_the_status_is_told(systemd, environ):
    """The status is sent where no process, or another process, is watched."""
    there = systemd()
    manager = ServiceManager({**there.environ, **environ})
    manager.watch(alive, lambda: "4 up")
    assert there.read() == ["STATUS=4 up"]
    manager.stopping()


def test_a_watchdog_hears_nothing_of_a_loop_that_is_stuck(systemd):
    """The keep-alive message comes from the main thread, not from a thread that runs beside it."""
    there = systemd()
    asked: SimpleQueue[Future[None]] = SimpleQueue()

    def ask():
        future: Future[None] = Future()
        asked.put(future)
        return future

    manager = ServiceManager({**there.environ, **QUICK})
    manager.watch(ask, lambda: "4 up")
    asked.get(timeout=PATIENCE).set_result(None)
    assert there.read() == ["WATCHDOG=1", "STATUS=4 up"]
    stuck = asked.get(timeout=PATIENCE)
    assert there.is_silent()
    assert asked.empty()
    manager.stopping()
    stuck.set_result(None)


def test_nobody_listens():
    """A daemon that was started by hand sends nothing and starts no thread for it."""
    manager = ServiceManager(QUICK)
    manager.watch(lambda: pytest.fail("nobody asked"), lambda: pytest.fail("nobody asked"))
    manager.ready()
    manager.stopping()


def test_a_manager_that_is_not_there_is_no_trouble(tmp_path, caplog):
    """The log says once that the manager cannot be reached."""
    with caplog.at_level(logging.WARNING):
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
        manager.ready()
        manager.stopping()
    assert [record.message for record in caplog.records] == ["notify_failed"]


def test_a_manager_that_went_away_is_no_trouble(systemd, caplog):
    """Each message that is lost is logged, and the daemon stops normally."""
    there = systemd()
    manager = ServiceManager(there.environ)
    there.listener.close()
    with caplog.at_level(logging.WARNING):
        manager.ready()
        manager.stopping()
    assert [record.message for record in caplog.records] == ["notify_failed"] * 2
