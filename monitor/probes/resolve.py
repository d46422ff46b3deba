"""
Name look-up with a deadline, and why a look-up failed.

The system's own look-up (``getaddrinfo``: hosts file, search list, any other local setting) decides
what a name means. It does not tell "no such name" from "the resolver is broken" and keeps no
deadline, so a failed look-up is repeated over DNS alone, only to find the reason.
"""

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import dns.exception
import dns.name
import dns.resolver

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Failure, Reason
from monitor.options import show_duration
from monitor.probes.family import is_address, misfit
from monitor.probes.shortage import SHORTAGES, check_look_ups, lack

# Threads that a silent resolver may hold; each ends when getaddrinfo gives up (glibc: 10 s or more)
_MOST_LOOKUPS = 64
_RECORDS = {"auto": ("A", "AAAA"), "4": ("A",), "6": ("AAAA",)}
_FAMILIES = {"auto": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}
_NoNameservers = dns.resolver.NoNameservers
# What an answer means, the most specific first
_ROWS: tuple[tuple[type[Exception], Reason, str], ...] = (
    (_NoNameservers, Reason.DNS_ERROR, "the look-up of {host} failed: {said}"),
    (dns.resolver.NXDOMAIN, Reason.DNS_NOT_FOUND, "the name {host} does not exist"),
    (Exception, Reason.DNS_NOT_FOUND, "{host} is not a valid name"),
)


class Resolver:
    """
    Finds addresses and reasons; used from many threads at once.

    The mutable state is the count of look-ups under way, guarded by ``_slots``.
    """

    def __init__(
        self,
        dns_client: Callable[[], dns.resolver.Resolver] = dns.resolver.Resolver,
        getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
    ) -> None:
        # Made again for each failure, because resolv.conf may have changed since
        self._dns_client = dns_client
        self._getaddrinfo = getaddrinfo
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
        Return why the system could not look up this name, by asking its name servers again.

        Raises:
            ProbeError: The system has no name server, or lacks what it takes to ask one.
        """
        check_look_ups(host)
        try:
            found = self._ask(host, deadline, ip)
        except dns.exception.Timeout:
            return timed_out(host, deadline)
        except dns.resolver.NoResolverConfiguration as error:
            raise ProbeError(f"no name server is set up to look up {host}") from error
        except OSError as error:
            raise ProbeError(f"cannot look up {host}: {error.strerror}") from error
        except (dns.exception.DNSException, UnicodeError) as error:
            if missing := _missing(error):
                raise ProbeError(f"cannot look up {host}: {missing}") from error
            for kind, reason, message in _ROWS:
                if isinstance(error, kind):
                    text = message.format(host=host, said=_said(error))
                    return Failure(reason, text)
            raise
        if found:
            return Failure(Reason.DNS_ERROR, f"the look-up of {host} failed once, but not again")
        return Failure(Reason.DNS_NOT_FOUND, f"{host} has no {_what(ip)}")

    def _ask(self, host: str, deadline: Deadline, ip: str) -> bool:
        client = self._dns_client()
        for kind in _RECORDS[ip]:
            # A name server may have the one record and fail to answer for the other
            with suppress(dns.resolver.NoAnswer):
                client.resolve(host, kind, lifetime=deadline.remaining(), search=True)
                return True
        return False


def _what(ip: str) -> str:
    return "address" if ip == "auto" else f"IPv{ip} address"


def timed_out(host: str, deadline: Deadline) -> Failure:
    """
    Return the failure of a look-up that did not end within the deadline.

    Raises:
        ProbeError: It could not even be made here.
    """
    check_look_ups(host)
    took = show_duration(deadline.timeout)
    return Failure(Reason.DNS_TIMEOUT, f"no answer to the look-up of {host} within {took}")


def _tries(error: Exception) -> list[Any]:
    """Return what came of each name server: an exception, or a response code as text."""
    tries = (error.kwargs.get("errors") or []) if isinstance(error, _NoNameservers) else []
    return [one[3] for one in tries]


def _missing(error: Exception) -> str:
    """Return what this machine ran out of; empty if that was not the cause."""
    tries = (one for one in _tries(error) if isinstance(one, OSError) and one.errno in SHORTAGES)
    return next(map(lack, tries), "")


def _said(error: Exception) -> str:
    """Return what the name servers answered, without their addresses: ``SERVFAIL``."""
    texts = {
        one.strerror if isinstance(one, OSError) and one.strerror else str(one)
        for one in _tries(error)
        if one
    }
    return ", ".join(sorted(texts)) or "no name server answered"
