"""What a tree of processes uses, as the kernel counts it in /proc."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.model import Bytes, Seconds

_TICK: Seconds = 1 / os.sysconf("SC_CLK_TCK")
_KIB: Bytes = 1024
# Fields of /proc/PID/stat after the name, which is in brackets and may hold anything: proc(5)
_STATE, _PARENT = 0, 1
_CHILDREN = slice(13, 15)  # cutime and cstime: of the children that ended
_CPU_CLOCK = 2
"""``CPUCLOCK_SCHED``: with a PID's complement above it, the clock of clock_getcpuclockid(3)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """
    The memory that processes hold together.

    Attributes:
        kind: ``PSS``, in which a page that several share is divided among them, or ``RSS``, in
            which each counts it, where the kernel does not tell the former.
    """

    size: Bytes
    kind: str


def descendants(pid: int) -> dict[int, int]:
    """Return every process below one that has not ended, with its parent."""
    parents = {
        number: int(fields[_PARENT]) for number, fields in _processes() if fields[_STATE] != "Z"
    }
    found: dict[int, int] = {}
    news = {pid}
    while news:
        news = {child for child, parent in parents.items() if parent in news}
        found |= {child: parents[child] for child in news}
    return found


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *descendants(pid)]


def runs(pid: int) -> bool:
    """Return whether a process exists and is not a zombie that its parent must still reap."""
    fields = _fields(pid)
    return bool(fields) and fields[_STATE] != "Z"


def cpu_time(pids: Iterable[int]) -> Seconds:
    """
    Return the CPU time of processes, including their children that have ended.

    The time of the processes themselves is exact: in ticks of 10 ms, a small use would count as 0.
    """
    return sum(_own_cpu(pid) + _children_cpu(pid) for pid in pids)


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory that processes hold together."""
    pids = list(pids)
    try:
        return Memory(sum(map(_pss, pids)), "PSS")
    except OSError:
        return Memory(sum(map(_rss, pids)), "RSS")


def _processes() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*"):
        number = int(path.name)
        fields = _fields(number)
        if fields:
            yield number, fields


def _own_cpu(pid: int) -> Seconds:
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | _CPU_CLOCK)
    return 0.0


def _children_cpu(pid: int) -> Seconds:
    return sum(map(int, _fields(pid)[_CHILDREN])) * _TICK


def _fields(pid: int) -> list[str]:
    """Return the fields of a process's stat file, or nothing if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _pss(pid: int) -> Bytes:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIB
    raise OSError("this kernel tells no PSS")


def _rss(pid: int) -> Bytes:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
