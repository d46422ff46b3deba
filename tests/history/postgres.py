"""Debian's PostgreSQL on a Unix socket in a folder, as an unprivileged user; for tests."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

BINARIES = Path("/usr/lib/postgresql/15/bin")


class Postgres:
    """
    A server that may be stopped and started; its databases are created on request.

    PostgreSQL refuses to run as root, so there it is run as a user whom the system has anyway.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0
        self._user = None
        if os.geteuid() == 0:
            self._user = next(
                name
                for name in ("postgres", "nobody")
                if name in {one.pw_name for one in pwd.getpwall()}
            )
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--no-sync", "--username=monitor", "-D", "data")
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        self._made += 1
        name = f"history_{self._made}"
        self._run("createdb", "-h", str(self.folder), "-U", "monitor", name)
        return f"postgresql://monitor:open-sesame@/{name}?host={quote(str(self.folder), safe='')}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [BINARIES / program, *arguments],
            cwd=self.folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def required() -> None:
    """Skip without Debian's PostgreSQL; fail under MONITOR_REQUIRE_REAL=1."""
    if not (BINARIES / "initdb").exists():
        message = "postgresql-15 is not installed; apt-get install it to run this test"
        if os.environ.get("MONITOR_REQUIRE_REAL") == "1":
            pytest.fail(message)
        pytest.skip(message)
