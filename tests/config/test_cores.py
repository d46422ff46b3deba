"""How many cores the process may use, read from files as the kernel writes them."""

import os

import pytest

from monitor.config.cores import count_cores, usable_cores


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], 8),
        (["max 100000\n"], 8),
        (["-1 100000\n"], 8),
        (["200000 100000\n"], 2),
        (["150000 100000\n"], 2),
        (["20000 50000\n"], 1),
        (["1600000 100000\n"], 8),
        (["max 100000\n", "600000 100000\n", "300000 100000\n"], 3),
        ([" ", "", "no limit\n", "100000 0\n"], 8),
    ],
)
def test_the_tightest_limit_counts(limits, expected):
    """Part of a core counts as one core; a missing or unreadable limit is ignored."""
    assert usable_cores(8, limits) == expected


def test_there_is_always_one():
    """The count is at least 1, however small the limit of the group."""
    assert usable_cores(4, ["0 100000"]) == 1


@pytest.fixture
def groups(tmp_path):
    """Return a function that writes files of control groups and counts the cores from them."""

    def count(own: str, **files: str) -> int:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return count_cores(tmp_path, tmp_path / "own")

    return count


_UNLIMITED = len(os.sched_getaffinity(0))
_ONE = "100000 100000\n"


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", {"cpu.max": _ONE}),
        ("0::/system.slice/monitor.service\n", {"system.slice/monitor.service/cpu.max": _ONE}),
        ("0::/system.slice/monitor.service\n", {"system.slice/cpu.max": _ONE}),
        ("0::/kubepods/pod1/abc\n", {"cpu.max": _ONE}),
        (
            "2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        ),
        (
            "1:cpu:/one\n",
            {"cpu/one/cpu.cfs_quota_us": "50000\n", "cpu/one/cpu.cfs_period_us": "100000\n"},
        ),
    ],
    ids=["container", "service", "slice", "outer name", "version 1 container", "version 1 group"],
)
def test_limits_are_found(groups, own, files):
    """The limit of the group or of a parent is found, in both versions of control groups."""
    assert groups(own, **files) == 1


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/mine\n", {"mine/cpu.max": "max 100000\n", "other/cpu.max": _ONE}),
        ("3:cpuset:/\n", {"cpu.max": _ONE}),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}),
        ("", {}),
    ],
    ids=["another group", "no group", "version 1 without limit", "nothing told"],
)
def test_without_a_limit_all_cores_count(groups, own, files):
    """Limits of other groups and missing files change nothing."""
    assert groups(own, **files) == _UNLIMITED


def test_without_control_groups_all_cores_count(tmp_path):
    """All cores count if the kernel has no control groups or they are not mounted."""
    assert count_cores(tmp_path / "none", tmp_path / "none") == _UNLIMITED
