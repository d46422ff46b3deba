"""What a fresh process loads, for the tests of the analysis."""

import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def in_new_process() -> Callable[[str], set[str]]:
    """Return a function that runs code in a fresh process and returns the modules loaded there."""

    def run(code: str) -> set[str]:
        report = f"{code}\nimport sys\nprint(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", report], capture_output=True, text=True, check=True
        )
        return {name.partition(".")[0] for name in done.stdout.split()}

    return run
