"""Which IP version a site's options require, and whether its addresses have that version."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from monitor.model import Failure, Reason, Site
from monitor.options import OptionError
from monitor.outbound import NetworkOptions, split_address


def ip_version(address: str) -> int:
    """Return 4 or 6 for an address, with or without a zone."""
    return ip_address(address.partition("%")[0]).version


def is_address(host: str) -> bool:
    """Return whether this is an IP address, with or without a zone."""
    try:
        ip_version(host)
    except ValueError:
        return False
    return True


def ip_choice(network: NetworkOptions) -> str:
    """Return ``auto``, ``4`` or ``6``: a source address can reach only its own version."""
    return str(ip_version(network.source_address)) if network.source_address else network.ip


def misfit(host: str, ip: str) -> Failure | None:
    """Return the failure if the host is an address of the other IP version, else None."""
    if ip == "auto" or not is_address(host) or ip_version(host) == int(ip):
        return None
    return Failure(Reason.CONNECT_UNREACHABLE, f"{host} is not an IPv{ip} address")


def check_addresses(site: Site, proxied: str = "") -> None:
    """
    Accept a site whose addresses can be reached by its own options.

    Args:
        proxied: The section that may name a proxy.

    Raises:
        OptionError: An address has the other IP version, or is link-local without an interface.
    """
    network = site.section(NetworkOptions)
    for keys, host in _contacts(site, network, proxied):
        if is_address(host):
            _check(network, keys, host)


def _check(network: NetworkOptions, keys: tuple[str, ...], host: str) -> None:
    ip = ip_choice(network)
    if misfit(host, ip):
        key = "source_address" if network.source_address else "ip"
        raise OptionError(
            keys, f"leads to an IPv{ip_version(host)} address, but network.{key} asks for IPv{ip}"
        )
    if ":" in host and "%" not in host and ip_address(host).is_link_local:
        raise OptionError(
            keys, "has a link-local address; name the interface to it, as in [fe80::1%eth0]"
        )


def _contacts(
    site: Site, network: NetworkOptions, proxied: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each host that is connected to directly, and the keys that name it."""
    for options in site.options:
        if proxied and (proxy := getattr(options, "proxy", None)):
            yield (proxied, "proxy"), urlsplit(proxy).hostname or ""
            return
    if network.connect_to:
        yield ("network", "connect_to"), split_address(network.connect_to)[0]
    else:
        yield ("url",), urlsplit(site.url).hostname or ""
    for options in site.options:
        if oauth2 := getattr(options, "oauth2", None):
            yield (proxied, "oauth2", "token_url"), urlsplit(oauth2.token_url).hostname or ""
