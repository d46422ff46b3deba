"""Where to connect, and how: the options of a handle that do not depend on what is sent."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pycurl

from monitor.model import Failure
from monitor.outbound import NetworkOptions, Proxy, TlsOptions, join_address, split_address
from monitor.probes.family import ip_choice, is_address, misfit
from monitor.probes.guard import GuardedNetwork
from monitor.probes.libcurl.certificates import trust_store
from monitor.probes.libcurl.options import QUICK_EXIT, Options, shared

_NEVER = 2**31 - 1  # milliseconds
_TLS_VERSIONS = {
    "1.0": (pycurl.SSLVERSION_TLSv1_0, pycurl.SSLVERSION_MAX_TLSv1_0),
    "1.1": (pycurl.SSLVERSION_TLSv1_1, pycurl.SSLVERSION_MAX_TLSv1_1),
    "1.2": (pycurl.SSLVERSION_TLSv1_2, pycurl.SSLVERSION_MAX_TLSv1_2),
    "1.3": (pycurl.SSLVERSION_TLSv1_3, pycurl.SSLVERSION_MAX_TLSv1_3),
}
_IP = {"auto": pycurl.IPRESOLVE_WHATEVER, "4": pycurl.IPRESOLVE_V4, "6": pycurl.IPRESOLVE_V6}


@dataclass(frozen=True)
class Route:
    """
    Where to connect, and how; derived values are computed once per record.

    Attributes:
        scheme: ``http`` for a plain connection, ``https`` for TLS.
        host: The name or address; an IPv6 address without brackets.
        pinned: Whether ``tls.server_name`` and ``network.connect_to`` apply: they are about the
            site's own host, not about one that it redirects to.
    """

    scheme: str
    host: str
    port: int
    tls: TlsOptions
    network: NetworkOptions
    proxy: Proxy | None = None
    pinned: bool = True

    @cached_property
    def peer(self) -> str:
        """The address that is connected to, for messages."""
        return join_address(*self.destination)

    @cached_property
    def destination(self) -> tuple[str, int]:
        if self.pinned and self.network.connect_to:
            return split_address(self.network.connect_to)
        return self.host, self.port

    @property
    def contact(self) -> str:
        """The host that is looked up and connected to: the proxy, if there is one."""
        return self.proxy.host if self.proxy else self.destination[0]

    @property
    def name(self) -> str:
        """The name that the certificate must cover."""
        return (self.pinned and self.tls.server_name) or self.host

    @property
    def is_tunnelled(self) -> bool:
        """Whether an HTTP proxy makes the connection to the site, requested with CONNECT."""
        if self.proxy is None or not self.proxy.speaks_http:
            return False
        return self.scheme == "https" or self._is_redirected

    @property
    def has_middleman(self) -> bool:
        """Whether a proxy makes the connection to the site before anything is asked of it."""
        return self.is_tunnelled or (self.proxy is not None and not self.proxy.speaks_http)

    @property
    def _is_redirected(self) -> bool:
        """Whether the connection goes elsewhere than the URL; libcurl needs a tunnel for that."""
        return self.pinned and bool(self.network.connect_to or self.tls.server_name)

    @cached_property
    def trust(self) -> str | None:
        """The file of authorities; None if none is needed."""
        needed = self.uses_tls and self.tls.verify
        return (self.tls.ca_file or trust_store()) if needed else None

    @cached_property
    def is_legacy(self) -> bool:
        """Whether handshakes older than RFC 5746 are allowed."""
        return self.uses_tls and self.tls.legacy

    @cached_property
    def uses_tls(self) -> bool:
        """Whether there is a TLS handshake, even if only with a proxy."""
        return self.scheme == "https" or (
            self.proxy is not None and self.proxy.url.startswith("https:")
        )

    @cached_property
    def misfit(self) -> Failure | None:
        """Why its address cannot be reached with the required IP version; None if it can."""
        # libcurl applies the choice only to the addresses of names
        return misfit(self.contact, ip_choice(self.network))

    @property
    def is_guarded(self) -> bool:
        """Whether each address must be checked before a connection to it."""
        return isinstance(self.network, GuardedNetwork)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the connection goes directly to an address, without a look-up, proxy or TLS."""
        return not (self.uses_tls or self.proxy) and is_address(self.contact)

    @cached_property
    def options(self) -> Options:
        """The options of a handle for this route; they do not depend on what is sent."""
        options: list[tuple[int, Any]] = [
            (QUICK_EXIT, 1),  # otherwise closing waits for the thread of a hanging resolver
            (pycurl.NOSIGNAL, 1),
            (pycurl.FRESH_CONNECT, 1),
            (pycurl.FORBID_REUSE, 1),
            (pycurl.DNS_CACHE_TIMEOUT, 0),
            (pycurl.IPRESOLVE, _IP[self.network.ip]),
            # Empty, because libcurl reads the environment if it is unset
            (pycurl.PROXY, self.proxy.url if self.proxy else ""),
            (pycurl.NOPROXY, ""),
            (pycurl.CONNECTTIMEOUT_MS, _NEVER),  # or libcurl's own limit applies too
            # A plain route has little to report, and reporting takes a tenth of such a transfer
            (pycurl.VERBOSE, not self.is_plain),
        ]
        if self.proxy and self.proxy.username is not None:
            options.append((pycurl.PROXYUSERNAME, self.proxy.username))
            options.append((pycurl.PROXYPASSWORD, self.proxy.password or ""))
        if self.network.source_address:
            options.append((pycurl.INTERFACE, f"host!{self.network.source_address}"))
        if self._is_redirected:
            there = join_address(*self.destination)
            place = f"{join_address(self.name, self.port)}:{there}"
            options.append((pycurl.CONNECT_TO, (place.encode(),)))
        if self.uses_tls:
            options += _tls_options(self)
        # Proxy credentials may contain any character; pycurl's own encoding is ASCII
        return shared(
            tuple(
                (option, value.encode() if isinstance(value, str) else value)
                for option, value in options
            )
        )


def _tls_options(route: Route) -> list[tuple[int, Any]]:
    tls = route.tls
    options: list[tuple[int, Any]] = [
        (pycurl.SSL_VERIFYPEER, tls.verify),
        (pycurl.SSL_VERIFYHOST, 2 if tls.verify else 0),
        (pycurl.PROXY_SSL_VERIFYPEER, tls.verify),
        (pycurl.PROXY_SSL_VERIFYHOST, 2 if tls.verify else 0),
        (pycurl.OPT_CERTINFO, 1),
        (pycurl.SSL_SESSIONID_CACHE, 0),  # each check makes a full handshake
    ]
    if tls.cert_file:
        options += [(pycurl.SSLCERT, tls.cert_file), (pycurl.SSLKEY, tls.key_file or tls.cert_file)]
    if tls.min_version or tls.max_version:
        lowest = tls.min_version or ("1.0" if (tls.max_version or "") < "1.2" else "1.2")
        highest = _TLS_VERSIONS[tls.max_version][1] if tls.max_version else 0
        options.append((pycurl.SSLVERSION, _TLS_VERSIONS[lowest][0] | highest))
    if tls.legacy:
        # Signatures of TLS below 1.2 also need level 0
        weak = "DEFAULT:@SECLEVEL=0"
        options += [(pycurl.SSL_CIPHER_LIST, weak), (pycurl.PROXY_SSL_CIPHER_LIST, weak)]
    return options
