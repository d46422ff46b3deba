"""Judges that misbehave as a job's URL tells them to; run in worker processes."""

import logging
import os
import signal
import time
from pathlib import Path

from monitor.logs import fields
from monitor.model import UP, Analysis, Failure, Job, Reason, Verdict

_log = logging.getLogger(__name__)


def judge(jobs: tuple[Job, ...]) -> tuple[Analysis, ...]:
    return tuple(_judge(job.url) for job in jobs)


def _judge(order: str) -> Analysis:
    match order.split():
        case ["crash"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["crash-once", mark]:
            if not Path(mark).exists():
                Path(mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case ["hang"]:
            time.sleep(600)
        case ["eat"]:
            try:
                bytearray(2 * 1024**3)
            except MemoryError:
                failure = Failure(Reason.BODY, "out of memory")
                return Analysis(verdict=Verdict.down(failure))
        case ["bug"]:
            raise KeyError("a bug in the judge")
        case ["log"]:
            try:
                int("a bug")
            except ValueError:
                _log.exception("a %s", "bug", extra=fields(site="shop"))
        case ["pid"]:
            return Analysis(verdict=UP, broken=(str(os.getpid()),))
        case ["grow"]:
            _leak.append(bytearray(os.urandom(1024) * 64 * 1024))
    return Analysis(verdict=UP)


_leak: list[bytearray] = []
