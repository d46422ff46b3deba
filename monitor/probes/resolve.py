"""
Name look-up with a deadline, and the reason why a look-up failed.

The system's own look-up (``getaddrinfo``: hosts file, search list, other local settings) decides
what a name means. It does not distinguish "no such name" from "the resolver is broken" and has no
deadline, so a failed look-up is repeated over DNS, only to find the reason.
"""

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Failure, Reason
from monitor.options import show_duration
from monitor.probes.family import is_address, misfit
from monitor.probes.shortage import check_look_ups

# Threads that a silent resolver may hold; each ends when getaddrinfo gives up (glibc: 10 s or more)
_MOST_LOOKUPS = 64
_FAMILIES = {"auto": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class Resolver:
    """
    Finds addresses and reasons; used by many threads at once.

    The mutable state is the count of running look-ups, guarded by ``_slots``.
    """

    def __init__(
        self,
        getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
        ask_again: Callable[[str, Deadline, str], Failure] | None = None,
    ) -> None:
        self._getaddrinfo = getaddrinfo
        self._ask_again = ask_again or _ask_again
        self._slots = threading.BoundedSemaphore(_MOST_LOOKUPS)

    def resolve(self, host: str, deadline: Deadline, ip: str = "auto") -> str | Failure:
        """
        Return the first address of a host, in the system's order, or why it has no address.

        Args:
            host: A name or an address; an address of this version is returned as it is.
            ip: ``auto``, ``4`` or ``6``.

        Raises:
            ProbeError: So many look-ups hang that no further one may be started.
        """
        if is_address(host):
            return misfit(host, ip) or host
        if not self._slots.acquire(timeout=deadline.remaining()):
            raise ProbeError(f"{_MOST_LOOKUPS} name look-ups hang; the system's resolver is silent")
        answer: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        # getaddrinfo cannot be interrupted: its thread is left behind when the deadline passes
        thread = threading.Thread(
            target=self._look_up, args=(host, ip, answer), name="look-up", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._slots.release()
            raise ProbeError(f"cannot look up {host}: no thread can be started") from error
        try:
            found = answer.get(timeout=deadline.remaining())
        except queue.Empty:
            return timed_out(host, deadline)
        return found if isinstance(found, str) else self.why_not(host, deadline, ip)

    def _look_up(self, host: str, ip: str, answer: "queue.SimpleQueue[str | Exception]") -> None:
        try:
            found = self._getaddrinfo(host, None, _FAMILIES[ip], socket.SOCK_STREAM)
            answer.put(found[0][4][0])  # (family, kind, protocol, name, (address, port, …))
        except (OSError, UnicodeError) as error:
            answer.put(error)
        finally:
            self._slots.release()

    def why_not(self, host: str, deadline: Deadline, ip: str = "auto") -> Failure:
        """
        Return why the system could not look up this name, by querying its name servers again.

        Raises:
            ProbeError: The system has no name server, or lacks a resource that is needed to query
            one.
        """
        check_look_ups(host)
        try:
            return self._ask_again(host, deadline, ip)
        except TimeoutError:
            return timed_out(host, deadline)
        except OSError as error:  # without a descriptor left, not even the module can be loaded
            raise ProbeError(f"cannot look up {host}: {error.strerror}") from error


def _ask_again(host: str, deadline: Deadline, ip: str) -> Failure:
    from monitor.probes.name_servers import ask_again  # noqa: PLC0415  its docstring says why

    return ask_again(host, deadline, ip)


def timed_out(host: str, deadline: Deadline) -> Failure:
    """
    Return the failure of a look-up that did not end within the deadline.

    Raises:
        ProbeError: This machine could not even start it.
    """
    check_look_ups(host)
    took = show_duration(deadline.timeout)
    return Failure(Reason.DNS_TIMEOUT, f"no answer to the look-up of {host} within {took}")
