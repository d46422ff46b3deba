"""Answers that are made once and shared by many clients."""

import asyncio
import threading

import pytest

from monitor.web.fresh import Fresh


def test_everybody_who_asks_meanwhile_gets_the_same():
    """A hundred clients that ask while the answer is being made share that one answer."""
    made = []
    ready = threading.Event()

    def make():
        ready.wait(10)
        made.append(1)
        return object()

    async def ask():
        fresh = Fresh(60.0, 10)
        waiting = [asyncio.create_task(fresh.get("a", make)) for _ in range(100)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one of them goes away
        ready.set()
        return await asyncio.gather(*waiting[1:])

    assert len(set(map(id, asyncio.run(ask())))) == 1
    assert made == [1]


def test_what_is_old_is_made_anew():
    """An answer that is too old is made again, under the same key."""

    async def ask():
        fresh = Fresh(0.0, 10)
        first = await fresh.get("a", object)
        await asyncio.sleep(0.01)
        return first, await fresh.get("a", object)

    first, second = asyncio.run(ask())
    assert first is not second


def test_no_more_is_kept_than_was_said():
    """If there are more keys than there is room for, the oldest one is dropped."""

    async def ask():
        fresh = Fresh(60.0, 2)
        before = [await fresh.get(key, object) for key in "abc"]
        return before, [await fresh.get(key, object) for key in "cba"]

    before, after = asyncio.run(ask())
    assert after[0] is before[2]
    assert after[1] is before[1]
    assert after[2] is not before[0]


def test_a_failure_is_not_kept():
    """All waiting clients get the error, and the next client causes a new attempt."""

    def fail():
        raise OSError("gone")

    async def ask():
        fresh = Fresh(60.0, 2)
        with pytest.raises(OSError, match="gone"):
            await fresh.get("a", fail)
        return await fresh.get("a", lambda: "there")

    assert asyncio.run(ask()) == "there"
