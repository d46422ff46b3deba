"""The settings of the engine: their defaults and their bounds."""

import os
import subprocess
import sys

import pytest

from monitor.config.settings import AnalysisSettings


def test_there_are_as_many_workers_as_cores():
    """Only cores that this process may use count, and at most four."""
    script = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        "from monitor.config.settings import AnalysisSettings\n"
        "print(AnalysisSettings().workers)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert AnalysisSettings().workers <= min(4, os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("workers: 0", "workers: must be a whole number from 1 to 256, not 0"),
        ("workers: 257", "workers: must be a whole number from 1 to 256, not 257"),
        ("memory: 127MiB", "memory: must be at least 128MiB, not 127MiB"),
        ("memory: 2TiB", "memory: must be at most 1TiB, not 2TiB"),
        ("timeout: 0s", "timeout: must be at least 100ms, not 0s"),
    ],
)
def test_workers_are_within_bounds(settings, message, files):
    """A value that no system allows is refused when the file is read, not by each worker."""
    [told] = files.problems(f"analysis: {{{settings}}}\nsites: []\n")
    assert told.endswith(f"analysis.{message}")
