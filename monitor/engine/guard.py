"""Limits the damage of a bug to one step of a loop; runs in the main thread."""

from collections.abc import Callable
from typing import Any

from monitor.engine import notices
from monitor.engine.ports import LoopMeters


class StepGuard:
    """Runs the steps of a loop."""

    def __init__(self, meters: LoopMeters) -> None:
        self._meters = meters

    def survives(self, step: Callable[..., None], *args: Any, **kwargs: Any) -> bool:
        """
        Run one step; a bug in it is logged and counted, and costs nothing but this step.

        Returns:
            Whether the step finished.
        """
        try:
            step(*args, **kwargs)
        except Exception:
            self._meters.engine_restarted()
            notices.restarted()
            return False
        return True


def nothing() -> None:
    """Stand in for a callback that is not needed."""
