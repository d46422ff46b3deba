"""
The options of DNS sites, apart from the probe: every daemon has them, to read its list.

The probe and the modules of dnspython that it needs take 2 MB and 0.05 s, so they are loaded with
the first DNS site of a list.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import dns.exception
import dns.rdataclass
import dns.rdatatype

from monitor.options import Parsed, Secret, option
from monitor.outbound import Proxy

_PATH = re.compile(r"/[!-~]*")
# Zone transfers, and types that are not questions
_NO_QUESTION = frozenset({"AXFR", "IXFR", "OPT", "TSIG", "TKEY", "NONE"})


def parse_type(value: Any) -> str:
    """
    Return the name of a record type in upper case.

    Raises:
        ValueError: There is no such type, or it cannot be queried.
    """
    try:
        text = dns.rdatatype.to_text(
            dns.rdatatype.from_text(value if isinstance(value, str) else "")
        )
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{value!r} is not a DNS record type such as A, AAAA, MX, TXT") from None
    if text in _NO_QUESTION:
        raise ValueError(f"{text} is not a record type that can be asked for")
    return text


def parse_class(value: Any) -> str:
    """
    Return the name of a record class in upper case.

    Raises:
        ValueError: There is no such class.
    """
    try:
        text = dns.rdataclass.to_text(
            dns.rdataclass.from_text(value if isinstance(value, str) else "")
        )
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{value!r} is not a DNS class such as IN or CH") from None
    if text in _NO_QUESTION:
        raise ValueError(f"{text} is not a class that can be asked for")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsOptions:
    type: Annotated[str, Parsed(parse_type, {"type": "string"})] = option(
        "A", doc="The record type to ask for; ?type= in the URL wins."
    )
    class_: Annotated[str, Parsed(parse_class, {"type": "string"})] = option(
        "IN", doc="The record class to ask for; ?class= in the URL wins."
    )
    transport: Literal["udp", "tcp", "tls", "https"] = option(
        "udp", doc="How to ask; udp asks again over TCP when the reply was truncated."
    )
    recursion: bool = option(True, doc="Whether the server is to ask others for what it lacks.")
    edns: bool = option(
        True,
        doc="Ask with EDNS and a buffer of 1232 bytes, as resolvers do; without it replies over"
        " UDP end at 512 bytes. A server that answers FORMERR or NOTIMP is asked again without.",
    )
    dnssec: bool = option(
        False, doc="Ask for signatures (the DO bit); a resolver that has checked them sets AD."
    )
    nsid: bool = option(
        False, doc="Ask which of its instances answers (NSID, RFC 5001); the JSON has it."
    )
    records: Literal["spaced", "blackbox_exporter"] = option(
        "spaced",
        doc="How records are written for patterns: with one space between all fields, or as"
        " blackbox_exporter has them, with tabs in the head and its library's spellings.",
    )
    path: str = option("/dns-query", doc="With transport https: the path of the URL to ask.")
    proxy: Secret | None = option(
        None,
        doc="With transport https: URL of a proxy, http, https, socks4, socks5 or socks5h; may hold"
        " credentials.",
    )

    def __post_init__(self) -> None:
        for name in ("dnssec", "nsid"):
            if getattr(self, name) and not self.edns:
                raise ValueError(f"{name} is asked for by EDNS; leave out edns: false")
        if not _PATH.fullmatch(self.path):
            raise ValueError(f"path {self.path!r} is not a path such as /dns-query")
        if self.proxy is not None:
            if self.transport != "https":
                raise ValueError(f"proxy does not go with transport {self.transport}; https has it")
            Proxy.parse(self.proxy)
