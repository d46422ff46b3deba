import os
import subprocess
import sys

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
