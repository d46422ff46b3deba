"""Which dead children the daemon reaps as process 1."""

import os
import subprocess
import sys

from monitor.engine.orphans import reap


def dead_child() -> int:
    """Return a child that has ended, and that nobody has waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_only_strangers_are_reaped():
    """A dead child that nobody here knows is waited for; those that somebody waits for are not."""
    stranger, ours = dead_child(), dead_child()
    assert reap(lambda: {ours}) == [stranger]
    assert os.waitpid(ours, 0) == (ours, 0)


def test_the_living_are_left_alone():
    """A child that runs is not waited for, whoever it is."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert reap(set) == []
        child.communicate(b"\n")
    assert child.returncode == 0


def test_only_process_1_reaps():
    """Elsewhere orphans go to somebody else, and no thread is needed."""
    script = (
        "import threading, monitor.engine.orphans as orphans\n"
        "orphans.start_reaping(0.01)\n"
        "print(threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
