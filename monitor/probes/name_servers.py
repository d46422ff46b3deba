"""
Finds why the system could not look up a name, by querying its name servers over DNS.

``resolve`` imports this module at the first failed look-up: dnspython's resolver takes 0.7 MB and
7 ms, or 10 MB and 77 ms where aioquic is installed, and most daemons never need it.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dns.exception
import dns.name
import dns.resolver

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Failure, Reason
from monitor.probes.shortage import SHORTAGES, lack

_RECORDS = {"auto": ("A", "AAAA"), "4": ("A",), "6": ("AAAA",)}
_NoNameservers = dns.resolver.NoNameservers
# The meaning of answers, the most specific first
_ROWS: tuple[tuple[type[Exception], Reason, str], ...] = (
    (_NoNameservers, Reason.DNS_ERROR, "the look-up of {host} failed: {said}"),
    (dns.resolver.NXDOMAIN, Reason.DNS_NOT_FOUND, "the name {host} does not exist"),
    (Exception, Reason.DNS_NOT_FOUND, "{host} is not a valid name"),
)


def ask_again(
    host: str,
    deadline: Deadline,
    ip: str,
    # Created for each failure, because resolv.conf may have changed
    client: Callable[[], dns.resolver.Resolver] = dns.resolver.Resolver,
) -> Failure:
    """
    Return why this name has no address.

    Args:
        ip: ``auto``, ``4`` or ``6``.

    Raises:
        TimeoutError: No name server answered within the deadline.
        ProbeError: The system has no name server, or lacks a resource that is needed to query one.
        OSError: A name server cannot be queried.
    """
    try:
        found = _ask(host, deadline, ip, client())
    except dns.exception.Timeout as error:
        raise TimeoutError from error
    except dns.resolver.NoResolverConfiguration as error:
        raise ProbeError(f"no name server is set up to look up {host}") from error
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


def _ask(host: str, deadline: Deadline, ip: str, client: dns.resolver.Resolver) -> bool:
    for kind in _RECORDS[ip]:
        # A name server may have one record and fail to answer for the other
        with suppress(dns.resolver.NoAnswer):
            client.resolve(host, kind, lifetime=deadline.remaining(), search=True)
            return True
    return False


def _what(ip: str) -> str:
    return "address" if ip == "auto" else f"IPv{ip} address"


def _tries(error: Exception) -> list[Any]:
    """Return the outcome for each name server: an exception, or a response code as text."""
    tries = (error.kwargs.get("errors") or []) if isinstance(error, _NoNameservers) else []
    return [one[3] for one in tries]


def _missing(error: Exception) -> str:
    """Return what this machine ran out of; empty if that was not the cause."""
    tries = (one for one in _tries(error) if isinstance(one, OSError) and one.errno in SHORTAGES)
    return next(map(lack, tries), "")


def _said(error: Exception) -> str:
    """Return the answers of the name servers, without their addresses: ``SERVFAIL``."""
    texts = {
        one.strerror if isinstance(one, OSError) and one.strerror else str(one)
        for one in _tries(error)
        if one
    }
    return ", ".join(sorted(texts)) or "no name server answered"
