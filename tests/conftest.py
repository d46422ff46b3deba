"""A clean environment for each test: no proxies, and no peers but loopback."""

import ipaddress
import logging
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_WHOLE = ("system", "container", "bench", "test_cli.py", "test_migration.py")
"""Where tests start whole programs, images or measurements."""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start whole programs, so that ``-m "not real"`` excludes them."""
    for item in items:
        if item.path.relative_to(_HERE).parts[0] in _WHOLE:
            item.add_marker(pytest.mark.real)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use twice the workers for tests that start no program: they wait a third of the time."""
    processors = len(os.sched_getaffinity(0))
    return 2 * processors if config.option.markexpr == "not real" else processors


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Clear the machine's settings for proxies and CA bundles from each test's environment."""
    for name in (*_PROXIES, *map(str.upper, _PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    # Daemons have a data folder only if the test gives them one, so none appears where pytest runs
    monkeypatch.setenv("MONITOR_DATA", "none")


@pytest.fixture(autouse=True)
def own_log():
    """Undo after each test what a command in this process set up for logging."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:
        root.removeHandler(handler)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    """Refuse every connection of Python's sockets except to this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                raise AssertionError(f"a test wanted to connect to {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def real() -> Callable[[str], str]:
    """
    Return a function from a program's name to its path.

    Without the program the test skips; under MONITOR_REQUIRE_REAL=1 it fails.
    """

    def find(program: str) -> str:
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path is None:
            message = f"{program} is not installed; apt-get install it to run this test"
            if os.environ.get("MONITOR_REQUIRE_REAL") == "1":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
