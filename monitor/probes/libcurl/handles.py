"""
Idle libcurl handles, and how they are lent.

``Handles.lend`` returns a transfer whose handle is set up for one route and one deadline; the probe
adds what its protocol needs and performs it. ``Handles.take_silent`` returns a silent handle, and
``Handles.resume`` the transfer that was made with it.
"""

import threading
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import pycurl

from monitor.clock import Deadline
from monitor.model import Seconds
from monitor.probes.libcurl.binding import CONTEXTS, LIBRARY, Contexts, Library
from monitor.probes.libcurl.options import Options, set_option
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.silent import SilentCurl
from monitor.probes.libcurl.transfer import CallbackTransfer, SilentTransfer, Transfer
from monitor.probes.libcurl.trust import Context, Trust, Trusts
from monitor.probes.resolve import Resolver

_IDLE: Seconds = 60.0
_LOOK: Seconds = 1.0
"""Time until the next search for old handles, after one that found nothing."""


class _Curl(Protocol):
    def close(self) -> None: ...


_C = TypeVar("_C", bound=_Curl)
_T = TypeVar("_T", bound=Transfer)


@dataclass(slots=True, eq=False)
class Handle(ABC, Generic[_C]):
    """
    A handle that is lent or idle.

    Attributes:
        context: What its TLS contexts get.
        since: When it was given back, on the monotonic clock.
    """

    curl: _C
    context: Context
    since: Seconds = 0.0

    @abstractmethod
    def clear(self) -> None:
        """Forget the last transfer."""


class CallbackHandle(Handle[pycurl.Curl]):
    __slots__ = ()

    def clear(self) -> None:
        self.curl.reset()


class SilentHandle(Handle[SilentCurl]):
    __slots__ = ()

    def clear(self) -> None:
        self.curl.forget()  # its options stay, because the next transfer probably needs the same


_H = TypeVar("_H", CallbackHandle, SilentHandle)


class Handles:
    """
    Idle handles, the last used on top; used by many threads at once.

    libcurl keeps loaded authorities with the handle, so handles are stacked by the file of
    authorities. When a handle is given back, another one that was idle for a minute is closed, in
    any stack, so the handles of a burst of checks or of an old configuration disappear while checks
    continue. The mutable state is the stacks and the time of the next search, guarded by ``_lock``.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        *,
        library: Library | None = LIBRARY,
        contexts: Contexts | None = CONTEXTS,
    ) -> None:
        """
        Begin with no handles.

        Args:
            library: The functions that silent handles need; without it there are no such handles.
            contexts: The functions that share authorities; without it each handle loads its own.
        """
        self.resolver = resolver or Resolver()
        self._library = library
        self._contexts = contexts
        self._trusts = Trusts(contexts)
        self._lock = threading.Lock()
        self._stacks: defaultdict[tuple[type, str | None], deque[Handle[Any]]]
        self._stacks = defaultdict(deque)
        self._look_at: Seconds = 0.0

    @property
    def has_silent(self) -> bool:
        """Whether there are silent handles."""
        return self._library is not None

    def lend(
        self, route: Route, deadline: Deadline, options: Options = ()
    ) -> "Loan[CallbackTransfer]":
        """
        Return the context of one transfer, whose handle is set up for it.

        Args:
            options: Options to set in addition to the route's own.

        Raises:
            ProbeError: The file of authorities is gone, or there is no memory for a handle.
        """
        trust = self._trusts.of(route.trust) if route.trust else None
        handle = self._pop_fresh(CallbackHandle, trust)
        handle = handle or CallbackHandle(pycurl.Curl(), Context(trust, self._contexts))
        try:
            given = handle.context.options(legacy=route.is_legacy) if route.uses_tls else ()
            for option, value in (*route.options, *given, *options):
                set_option(handle.curl, option, value)
            handle.curl.setopt(pycurl.WRITEFUNCTION, _ignore)
            transfer = CallbackTransfer(handle.curl, route, deadline, self.resolver, handle.context)
        except BaseException:
            handle.curl.close()
            raise
        return Loan(self, handle, transfer, deadline)

    def take_silent(self, route: Route) -> SilentHandle:
        """
        Return a silent handle; the caller must give it back, resume it or close it.

        Raises:
            ProbeError: The file of authorities is gone, or there is no memory for a handle.
            RuntimeError: There are no silent handles; see has_silent.
        """
        if self._library is None:
            raise RuntimeError("there are no silent handles")
        trust = self._trusts.of(route.trust) if route.trust else None
        handle = self._pop_fresh(SilentHandle, trust)
        return handle or SilentHandle(SilentCurl(self._library), Context(trust, self._contexts))

    def resume(
        self, handle: SilentHandle, route: Route, deadline: Deadline
    ) -> "Loan[SilentTransfer]":
        """Return the context of the transfer that a silent handle has made."""
        transfer = SilentTransfer(handle.curl, route, deadline, self.resolver, handle.context)
        return Loan(self, handle, transfer, deadline)

    def give_back(self, handle: Handle[Any], now: Seconds) -> None:
        """Take a handle back as idle, after clearing the traces of its last transfer."""
        handle.clear()
        handle.since = now
        trust = handle.context.trust
        with self._lock:
            self._stacks[type(handle), trust.path if trust else None].append(handle)
            old = self._pop_old(now) if now >= self._look_at else None
        if old:
            old.curl.close()

    def close(self) -> None:
        """Close the idle handles, and release their authorities."""
        self._trusts.forget()
        with self._lock:
            stacks = tuple(self._stacks.values())
            self._stacks.clear()
        for stack in stacks:
            for idle in stack:
                idle.curl.close()

    def _pop_fresh(self, kind: type[_H], trust: Trust | None) -> _H | None:
        """Return an idle handle with exactly these authorities; close those with older ones."""
        place = kind, trust.path if trust else None
        while True:
            with self._lock:
                stack = self._stacks.get(place)
                idle = stack.pop() if stack else None
            if idle is None or idle.context.trust is trust:
                return cast("_H | None", idle)  # give_back() stacks them by type
            idle.curl.close()

    def _pop_old(self, now: Seconds) -> Handle[Any] | None:
        """Return the lowest handle of a stack, if it has been idle for long."""
        for kind, stack in tuple(self._stacks.items()):
            if not stack:
                del self._stacks[kind]
            elif stack[0].since <= now - _IDLE:
                return stack.popleft()
        self._look_at = now + _LOOK
        return None


class Loan(Generic[_T]):
    """A lent handle; ``with`` gives its transfer."""

    __slots__ = ("_deadline", "_handle", "_handles", "_transfer")

    def __init__(
        self,
        handles: Handles,
        handle: Handle[Any],
        transfer: _T,
        deadline: Deadline,
    ) -> None:
        self._handles = handles
        self._handle = handle
        self._transfer = transfer
        self._deadline = deadline

    def __enter__(self) -> _T:
        return self._transfer

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None or not self._transfer.reusable:
            self._handle.curl.close()
            return
        self._handles.give_back(self._handle, self._deadline.clock.monotonic())


def _ignore(_: bytes) -> None:
    """Drop data that nobody reads; otherwise libcurl writes it to standard output."""
