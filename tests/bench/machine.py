"""The machine of a benchmark: figures from different machines cannot be compared."""

import os
import platform
from pathlib import Path

import pycurl

from tests.bench.blackbox import PROGRAM as BLACKBOX
from tests.bench.lab import program, version_of

_VERSIONS = {"nginx": "-v", BLACKBOX: "--version", "cc": "--version"}


def machine() -> dict[str, str]:
    """Return what is known about this machine and the programs that take part."""
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB",
        "kernel": platform.release(),
        "load at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        "libcurl": pycurl.version,
        **{name: _version(name, option) for name, option in _VERSIONS.items()},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str, option: str) -> str:
    try:
        return version_of(program(name), option)
    except LookupError as error:
        return str(error)
