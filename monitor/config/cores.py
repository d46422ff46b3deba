"""Counts the cores this process may use: those it may run on, limited by its control groups."""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath


def usable_cores(cores: int, limits: Iterable[str]) -> int:
    """
    Return how many cores are worth a process each, at least 1.

    Args:
        cores: Those that the process may run on.
        limits: The limits of its groups in the form of ``cpu.max``: microseconds of processor time,
            and the period in microseconds. Some examples, with the result for 8 cores::

                max 100000       8
                -1 100000        8, version 1's word for no limit
                150000 100000    2
                50000 100000     1
    """
    for limit in limits:
        quota, _, period = limit.strip().partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def count_cores(mount: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """
    Return the number of cores that this process may use now.

    Args:
        mount: Where the control groups are, of version 2, or of version 1 with a folder for each
            controller.
        own: Names the groups of this process.
    """
    return usable_cores(len(os.sched_getaffinity(0)), _limits(mount, own))


def _limits(mount: Path, own: Path) -> Iterator[str]:
    for line in _text(own).splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A limit holds for all groups below it. In a container the group may have its name from
        # outside, while only the group itself is mounted
        path = PurePosixPath(group.lstrip("/"))
        for level in (path, *path.parents):
            if controllers:
                folder = mount / "cpu" / level
                quota = _text(folder / "cpu.cfs_quota_us").strip()
                yield f"{quota} {_text(folder / 'cpu.cfs_period_us')}"
            else:
                yield _text(mount / level / "cpu.max")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
