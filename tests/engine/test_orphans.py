"""Which dead children the daemon reaps as process 1."""

import os
import subprocess
import sys

from monitor.engine.orphans import reap


def dead_child() -> int:
    """Return a child that has ended and that no process has waited for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_only_strangers_are_reaped():
    """A dead child that no code here knows is reaped; one that is waited for elsewhere is not."""
    stranger, ours = dead_child(), dead_child()
    assert reap(lambda: {ours}) == [stranger]
    assert os.waitpid(ours, 0) == (ours, 0)


def test_the_living_are_left_alone():
    """A running child is not waited for, whether known or not."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert reap(set) == []
        child.communicate(b"\n")
    assert child.returncode == 0


def test_only_process_1_reaps():
    """In any other process no thread is started, because another process reaps orphans."""
    script = (
        "import threading, monitor.engine.orphans as orphans\n"
        "orphans.start_reaping(0.01)\n"
        "print(threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
