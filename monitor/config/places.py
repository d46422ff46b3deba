"""The settings of several places: the servers between them, and how their votes are counted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from monitor.config.nodes import KeyValue, MappingNode
from monitor.config.problems import KeyPath, Problems
from monitor.grammar import check_url
from monitor.model import Site
from monitor.options import FilePath, Parsed, Secret, option, size, whole
from monitor.protocols.table import SCHEMES
from monitor.units import Bytes

_SERVER = re.compile(r"(?:nats|tls|ws|wss)://[^\s/?#@]+")
_ENOUGH = re.compile(r"[1-9][0-9]{0,2}|(?:100|[1-9][0-9]?)%|majority|all|any")
_MOST_PARTITIONS = 256
_MOST_VOTES = 999
_MOST_MISSED = 1000
_LEAST_SPOOL: Bytes = 1024**2
_LEAST_KEPT: Bytes = 16 * 1024**2


def _server(value: Any) -> str:
    # A login does not belong here, so it is not quoted
    text = value if isinstance(value, str) and _SERVER.fullmatch(value) else ""
    check_url(
        text,
        ("nats", "tls", "ws", "wss"),
        "a server such as tls://nats.example.com:4222, with nats://, tls://, ws:// or wss://",
    )
    return text


def _enough(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _ENOUGH.fullmatch(text):
        raise ValueError(
            f"{value!r} is not a number of votes; write a number such as 2, a share such as 60%, or"
            " majority, all or any"
        )
    return text


_ENOUGH_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": _MOST_VOTES},
        {"type": "string", "pattern": f"^({_ENOUGH.pattern})$"},
    ]
}
_Server = Annotated[str, Parsed(_server, {"type": "string", "pattern": f"^{_SERVER.pattern}$"})]
_Enough = Annotated[str, Parsed(_enough, _ENOUGH_SCHEMA)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsTlsKeys:
    ca_file: FilePath | None = option(
        None, doc="Authorities that the servers' certificates are checked against, as PEM."
    )
    cert_file: FilePath | None = option(None, doc="Our own certificate, as PEM.")
    key_file: FilePath | None = option(None, doc="Its key, as PEM.")

    def __post_init__(self) -> None:
        if (self.cert_file is None) is not (self.key_file is None):
            raise ValueError("cert_file and key_file go together")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsKeys:
    servers: tuple[_Server, ...] = option(
        doc="Servers of one NATS, such as tls://nats.example.com:4222; also nats://, ws://, wss://."
    )
    credentials: FilePath | None = option(None, doc="File with a JWT and its seed, made by nsc.")
    user: str | None = option(None, doc="Name of a user, with password.")
    password: Secret | None = option(None, doc="The user's password.")
    token: Secret | None = option(None, doc="Token, where the servers ask for one.")
    tls: NatsTlsKeys = option(NatsTlsKeys(), doc="How TLS is used with the servers.")

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty; list at least one")
        if (self.user is None) is not (self.password is None):
            raise ValueError("user and password go together")
        ways = (self.credentials, self.user, self.token)
        if sum(one is not None for one in ways) > 1:
            raise ValueError("credentials, user and token exclude each other; keep one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumKeys:
    """How many votes make a verdict: a number, majority, all, any, or a share such as 60%."""

    down: _Enough = option("majority", doc="Votes for down that turn a site down.")
    up: _Enough = option("majority", doc="Votes for up that turn a site up.")
    minimum: Annotated[int, whole(1, _MOST_VOTES)] = option(
        2, doc="Votes that any verdict needs; a site with fewer votes is unknown."
    )

    def __post_init__(self) -> None:
        for name in ("down", "up"):
            enough = getattr(self, name)
            if enough.isdecimal() and int(enough) > 1 and self.minimum < int(enough):
                raise ValueError(
                    f"minimum is {self.minimum}, but {name} needs {enough} votes; set minimum to at"
                    f" least {enough}, so that a site with fewer is unknown"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationsSettings:
    nats: NatsKeys = option(doc="The NATS servers, with JetStream, between places and hub.")
    quorum: QuorumKeys | None = option(
        None,
        doc="How the places' votes become one verdict. Without it the hub joins shards: each site"
        " has one place, whose state is the verdict.",
    )
    stale: Annotated[int, whole(1, _MOST_MISSED)] = option(
        3, doc="How many intervals a place may miss before it has no vote on a site."
    )
    partitions: Annotated[int, whole(1, _MOST_PARTITIONS)] = option(
        4,
        doc="Into how many parts the reports are divided; as many hubs can share them. The same for"
        " every place and hub.",
    )
    spool: Annotated[Bytes, size(_LEAST_SPOOL)] = option(
        64 * 1024**2,
        doc="How much a place that is cut off keeps of its reports; the oldest are dropped first.",
    )
    stream: Annotated[Bytes, size(_LEAST_KEPT)] = option(
        1024**3, doc="How much the servers keep of the reports; the oldest are dropped first."
    )


# ---------------------------------------------------------------- what is probably not meant


def warn_of_places(
    entries: Mapping[str, KeyValue],
    settings: LocationsSettings | None,
    sites: Sequence[Site],
    problems: Problems,
) -> None:
    """Warn if a place decides alone despite a quorum, and about sites that call only one place."""
    quorum = settings.quorum if settings else None
    if quorum is None:
        return
    calling = next((site for site in sites if SCHEMES[site.scheme].reports_itself), None)
    if calling is not None:
        message = (
            f"the site {calling.name!r} reports itself, and to one place alone, so the others"
            " say that it is overdue; list such sites for a monitor of their own"
        )
        problems.warn(entries["locations"].key, ("locations",), message)
    if quorum.down in ("1", "any"):
        _warn(
            entries,
            "down",
            problems,
            f"{quorum.down} means that a single place turns a site down, even one that sees the"
            " world wrongly; write 2 or majority",
        )
    elif quorum.minimum == 1:
        _warn(
            entries,
            "minimum",
            problems,
            "1 means that the last place with a vote decides alone; write 2 or more",
        )


def _warn(entries: Mapping[str, KeyValue], key: str, problems: Problems, message: str) -> None:
    path: KeyPath = ("locations", "quorum", key)
    node = entries["locations"].value
    for step in path[1:]:
        below = node.entries.get(str(step)) if isinstance(node, MappingNode) else None
        if below is None:
            break
        node = below.value
    problems.warn(node, path, message)
