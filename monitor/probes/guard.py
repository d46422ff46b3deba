"""
Limits the hosts that a requested check may reach: names, and every address before its use.

A guard is part of the site's network options, which every probe passes to the code that connects.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from monitor.model import Failure, Reason
from monitor.outbound import NetworkOptions
from monitor.probes.family import is_address

_UNICAST = IPv6Network("2000::/3")
_6TO4 = IPv6Network("2002::/16")
"""An address in it leads to the IPv4 address that is part of it."""


@dataclass(frozen=True, slots=True)
class Guard:
    """
    Which hosts may be contacted.

        *.example.com                 shop.example.com, if its address is public
        *.internal, 10.0.0.0/8        db.internal at 10.1.2.3, and 10.1.2.3 itself
        *                             every name with a public address; no address, nothing internal

    Attributes:
        names: Globs, in lower case; a name must match one of them.
        networks: Every address must be in one of them, including that of a name; only names may
            lead to public addresses as well.
    """

    names: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, allowed: tuple[str, ...]) -> "Guard":
        """Return the guard of a list of globs, networks and addresses."""
        names: list[str] = []
        networks: list[IPv4Network | IPv6Network] = []
        for one in allowed:
            try:
                networks.append(ip_network(one, strict=False))
            except ValueError:
                names.append(one.lower())
        return cls(tuple(names), tuple(networks))

    def why_not(self, host: str, address: str | None = None) -> str | None:
        """
        Return why a host may not be contacted; None if it may.

        Args:
            host: A name or an address.
            address: The address that a name has led to; None if it has not been looked up.
        """
        if is_address(host):
            return None if self._covers(host) else f"{host} is in none of the networks allowed"
        name = host.lower().removesuffix(".")
        if not any(fnmatchcase(name, glob) for glob in self.names):
            return f"the name {host} is not one of those allowed"
        if address is None or self._covers(address) or _is_public(_unmapped(address)):
            return None
        return f"{host} leads to {address}, which is in none of the networks allowed"

    def _covers(self, address: str) -> bool:
        plain = _unmapped(address)
        return any(plain in network for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedNetwork(NetworkOptions):
    """The network options of a requested check; the configuration has no key for them."""

    guard: Guard

    @classmethod
    def around(cls, network: NetworkOptions, guard: Guard) -> "GuardedNetwork":
        return cls(
            ip=network.ip,
            connect_to=network.connect_to,
            source_address=network.source_address,
            guard=guard,
        )


def forbidden(network: NetworkOptions, host: str, address: str | None = None) -> str | None:
    """Return why these options forbid contact with a host; None if they allow it."""
    return network.guard.why_not(host, address) if isinstance(network, GuardedNetwork) else None


def refusal(network: NetworkOptions, host: str, address: str) -> Failure | None:
    """Return the failure of a check if its own host led to a forbidden address, else None."""
    why = forbidden(network, host, address)
    return Failure(Reason.CONNECT_UNREACHABLE, why) if why else None


def _unmapped(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        return address.is_global and address in _UNICAST and address not in _6TO4
    return address.is_global and not address.is_multicast
