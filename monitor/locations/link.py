"""A connection to NATS, restored whenever it is lost; a thread with an event loop of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from threading import Thread
from typing import Any

from nats.aio.client import Client

from monitor.clock import Clock
from monitor.locations.access import CONNECT_TIMEOUT, NatsAccess, sentence_of
from monitor.logs import fields
from monitor.units import Seconds

_log = logging.getLogger(__name__)

PAUSE: Seconds = 1.0
"""Between attempts."""
FAREWELL: Seconds = 3.0
"""How long each step of stopping may take."""
_RECONNECT = 1
_PING = 10
"""Seconds; NATS' client takes whole ones."""


class NatsLink:
    """
    A connection that is made again for as long as the daemon runs, in a thread of its own.

    Args:
        name: Shown by the servers among their connections.
        inbox: The prefix of subjects for answers; permissions are given by it.
    """

    def __init__(self, access: NatsAccess, *, name: str, inbox: str, clock: Clock) -> None:
        self._options = access.options()
        self._name = name
        self._inbox = inbox
        self._clock = clock
        self._thread = Thread(target=self._run, name="locations", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._lost = asyncio.Event()  # the connection
        self._back = asyncio.Event()
        self._told: set[str] = set()  # since the connection was lost
        self.connected = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Deliver what can be delivered soon, and end."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(FAREWELL * 3)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            with suppress(Exception):
                _cancel_all(self._loop)
            self._loop.close()

    async def _live(self) -> None:
        background = [asyncio.ensure_future(one) for one in self._always()]
        while not self._stop.is_set():
            closed = asyncio.Event()
            client = await self._connect(closed)
            if client is not None:
                await self._session(client, closed)
            if not self._stop.is_set():
                await within(self._stop.wait(), PAUSE)
        for one in background:
            one.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self._farewell()

    async def _connect(self, closed: asyncio.Event) -> Client | None:
        client = Client()

        async def lost() -> None:
            self._set_connected(False)

        async def back() -> None:
            self._set_connected(True)

        async def over() -> None:
            closed.set()

        async def failed(error: Exception) -> None:
            self._warn_once(error)

        attempt = asyncio.ensure_future(
            client.connect(
                **self._options,
                name=self._name,
                inbox_prefix=self._inbox,
                connect_timeout=CONNECT_TIMEOUT,
                reconnect_time_wait=_RECONNECT,
                max_reconnect_attempts=-1,
                ping_interval=_PING,
                max_outstanding_pings=2,
                # What is published while cut off is spooled by us, never by the client
                pending_size=0,
                disconnected_cb=lost,
                reconnected_cb=back,
                closed_cb=over,
                error_cb=failed,
            )
        )
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({attempt, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not attempt.done():
            attempt.cancel()
        try:
            await attempt
        except asyncio.CancelledError:
            return None
        except Exception as error:
            self._warn_once(error)
            return None
        self._set_connected(True)
        return client

    async def _session(self, client: Client, closed: asyncio.Event) -> None:
        tasks = [asyncio.ensure_future(one) for one in self._while_connected(client)]
        ends = [asyncio.ensure_future(closed.wait()), asyncio.ensure_future(self._stop.wait())]
        try:
            done, _ = await asyncio.wait({*tasks, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for task in done.intersection(tasks):
                if error := task.exception():
                    self._warn_once(error)
            await self._before_closing()
        finally:
            for task in (*tasks, *ends):
                task.cancel()
            await asyncio.gather(*tasks, *ends, return_exceptions=True)
            self._set_connected(False)
            with suppress(Exception):
                await asyncio.wait_for(client.close(), FAREWELL)

    def _set_connected(self, connected: bool) -> None:
        if connected is self.connected:
            return
        self.connected = connected
        if connected:
            self._lost.clear()
            self._back.set()
            self._told.clear()
            _log.info("locations_connected")
        else:
            self._lost.set()
            if not self._stop.is_set():
                _log.warning("locations_cut_off")

    def _warn_once(self, error: BaseException) -> None:
        """Say once what is wrong until the connection stands again, even if answers alternate."""
        detail = sentence_of(error)
        if detail not in self._told:
            self._told.add(detail)
            _log.warning("locations_failed", extra=fields(detail=detail))

    # What the two ends differ in

    def _always(self) -> Iterable[Awaitable[None]]:
        return ()

    def _while_connected(self, client: Client) -> Iterable[Awaitable[None]]:
        raise NotImplementedError

    async def _before_closing(self) -> None:
        pass

    async def _farewell(self) -> None:
        pass


async def within(what: Awaitable[Any], seconds: Seconds) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(what, seconds)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
