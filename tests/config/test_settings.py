import os
import subprocess
import sys

import pytest

from monitor.config.settings import AnalysisSettings


def test_there_are_as_many_workers_as_cores():
    """Only cores that this process may use count, and no more than four."""
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
        ({"workers": 0}, "workers must be from 1 to 256"),
        ({"workers": 257}, "workers must be from 1 to 256"),
        ({"memory": 127 * 1024**2}, "memory must be at least 128MiB"),
        ({"memory": 2 * 1024**4}, "memory must be at most 1024GiB"),
        ({"timeout": 0.0}, "timeout must be more than 0s"),
    ],
)
def test_workers_are_within_bounds(settings, message):
    """What no system gives is refused when the file is read, not found out by each worker."""
    with pytest.raises(ValueError, match=message):
        AnalysisSettings(**settings)
