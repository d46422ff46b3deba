"""The daemon starts once with its allocator set up, and as the same process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor import allocator
from monitor.allocator import VALUE, VARIABLE, start_again

ROOT = Path(__file__).parents[1]


def test_a_daemon_is_the_same_program_and_process_with_the_variable_set(tmp_path):
    """The daemon keeps its arguments and process number and restarts itself once; no other does."""
    if not allocator._is_glibc():
        pytest.skip("the C library is not glibc")
    noted = tmp_path / "noted"
    # Imported by each Python as it starts
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"with open({str(noted)!r}, 'a') as file:\n"
        f"    print(os.getpid(), os.environ.get({VARIABLE!r}), *sys.orig_argv[1:], file=file)\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environ["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    for command in ("run", "probe"):
        done = subprocess.run(
            [sys.executable, "-m", "monitor", command, "--help"],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert f"monitor {command}" in done.stdout
    first, second, third = noted.read_text().splitlines()
    pid = first.split()[0]
    assert first == f"{pid} None -m monitor run --help"
    assert second == f"{pid} {VALUE} -m monitor run --help"
    assert third.split()[1:] == ["None", "-m", "monitor", "probe", "--help"]


def test_what_an_operator_sets_is_left_alone():
    """An operator's own setting is kept, even if it is the opposite of ours."""
    started: list[object] = []
    start_again({VARIABLE: "glibc.malloc.tcache_count=7"}, lambda *said: started.append(said))
    assert started == []


def test_another_c_library_is_left_alone(monkeypatch):
    """Another C library does not get the variable, which is glibc's."""

    def unknown(name: str) -> str:
        raise ValueError(f"unrecognized configuration name {name}")

    monkeypatch.setattr(os, "confstr", unknown)
    started: list[object] = []
    start_again({}, lambda *said: started.append(said))
    assert started == []


def test_a_system_that_refuses_runs_the_daemon_as_it_is():
    """If a sandbox refuses execve, the daemon runs anyway, with more memory and all its checks."""
    refused: list[str] = []

    def refuse(path: str, *_: object) -> None:
        refused.append(path)
        raise OSError(errno.EPERM, "Operation not permitted")

    start_again({}, refuse)
    assert refused == [sys.executable]
