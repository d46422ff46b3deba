"""Answers that stay valid for some seconds and are made once for all readers in that time."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from monitor.model import Seconds

_Made = TypeVar("_Made")


class Fresh:
    """
    Keeps what is costly to make, so that many readers cost no more than one.

    The mutable state, tasks and the times when they ended, belongs to one event loop.

    Args:
        most: How many answers are kept; the oldest is dropped first.
    """

    def __init__(self, good_for: Seconds, most: int) -> None:
        self._good_for = good_for
        self._most = most
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._ended: dict[Hashable, Seconds] = {}

    async def get(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """
        Return the answer kept under the key, or what *make* returns in a thread of its own.

        An exception of *make* is raised for all who waited, and is not kept.
        """
        task = self._tasks.get(key)
        ended = self._ended.get(key)
        now = asyncio.get_running_loop().time()
        if task is None or (ended is not None and now - ended > self._good_for):
            self._forget(key)
            task = self._tasks[key] = asyncio.create_task(asyncio.to_thread(make))
            task.add_done_callback(lambda done: self._note(key, done))
            while len(self._tasks) > self._most:
                self._forget(next(iter(self._tasks)))
        # A client that disconnects must not cancel what others wait for
        made: _Made = await asyncio.shield(task)
        return made

    def _note(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is not done:
            return
        if done.cancelled() or done.exception() is not None:
            self._forget(key)
        else:
            self._ended[key] = asyncio.get_running_loop().time()

    def _forget(self, key: Hashable) -> None:
        self._tasks.pop(key, None)
        self._ended.pop(key, None)
