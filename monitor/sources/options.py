"""
The options of each kind of source, and the table of kinds; loaded with every list.

The module with the name of the kind is loaded when a list has such a source.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from monitor.grammar import LONGEST_SOCKET, check_url
from monitor.model import SourceKind
from monitor.options import FilePath, Parsed, Secret, duration, option, whole
from monitor.outbound import check_header
from monitor.units import Seconds

_SHORTEST_REFRESH: Seconds = 1.0
_SOCKET = re.compile(r"unix://(/[^\s]+)")
_HOST = re.compile(r"https?://[^\s/?#@]+/?")
# What Kubernetes allows in names, RFC 1123's labels and subdomains, and in selectors
_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_NAME)
_PREFIX = re.compile(rf"{_NAME}(?:\.{_NAME})*")
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:{_PREFIX.pattern}/)?{_WORD}"
_VALUE = rf"(?:{_WORD})?"
_REQUIREMENT = (
    rf"\s*(?:!?\s*{_KEY}|{_KEY}\s*(?:==?|!=)\s*{_VALUE}|{_KEY}\s*[<>]\s*\d+"
    rf"|{_KEY}\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\))\s*"
)
_SELECTOR = re.compile(rf"{_REQUIREMENT}(?:,{_REQUIREMENT})*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def _url(value: Any) -> str:
    text = value if isinstance(value, str) and "#" not in value else ""
    check_url(
        text, ("http", "https"), "a URL without #, such as https://inventory.example.com/targets"
    )
    return text


def _host(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if socket := _SOCKET.fullmatch(text):
        if len(os.fsencode(socket[1])) > LONGEST_SOCKET:
            raise ValueError(f"has a path of more than {LONGEST_SOCKET} bytes, which no socket has")
        return text
    # A login does not belong here, so it is not quoted
    check_url(
        text if _HOST.fullmatch(text) else "",
        ("http", "https"),
        "unix:///run/docker.sock, http://HOST:PORT or https://HOST:PORT",
    )
    return text.rstrip("/")


def _written(pattern: re.Pattern[str], what: str) -> Parsed:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return Parsed(parse, {"type": "string", "pattern": f"^(?:{pattern.pattern})$"})


_MOST_PAGES = 50_000
"""The most that one sitemap may have."""
Refresh = Annotated[Seconds, duration(_SHORTEST_REFRESH)]
_Url = Annotated[str, Parsed(_url, {"type": "string", "format": "uri"})]
_Host = Annotated[
    str, Parsed(_host, {"type": "string", "pattern": f"^(?:{_SOCKET.pattern}|{_HOST.pattern})$"})
]
_Scheme = Annotated[str, _written(_SCHEME, "a scheme such as https")]
_Prefix = Annotated[str, _written(_PREFIX, "a prefix such as monitor.example")]
_Namespace = Annotated[str, _written(_NAMESPACE, "a namespace such as shop")]
_Selector = Annotated[str, _written(_SELECTOR, "a label selector such as team=shop,tier!=test")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    paths: tuple[str, ...] = option(
        doc="JSON and YAML files in the form of Prometheus' file_sd: paths relative to this file,"
        " where *, ? and ** are allowed. A change is noticed at once."
    )
    scheme: _Scheme | None = option(
        None, doc="The scheme of targets that have none, such as https; without it they are errors."
    )

    def __post_init__(self) -> None:
        if not self.paths or not all(path and path.isprintable() for path in self.paths):
            raise ValueError("paths must name at least one file or pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSourceOptions:
    url: _Url = option(doc="Where the list is, in the form of Prometheus' http_sd.")
    refresh: Refresh = option(60.0, doc="How often the list is fetched.")
    timeout: Refresh = option(10.0, doc="How long the whole answer may take.")
    headers: Mapping[str, Secret] = option(
        factory=dict, doc="Headers to send, such as Authorization; all of them are secret."
    )
    ca_file: FilePath | None = option(
        None, doc="PEM file of the authorities to trust, instead of the system's."
    )
    scheme: _Scheme | None = option(
        None, doc="The scheme of targets that have none, such as https; without it they are errors."
    )

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            check_header(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesOptions:
    kubeconfig: FilePath | None = option(
        None, doc="How to reach the API server; by default as the pod's own service account."
    )
    context: str | None = option(
        None, doc="Which context of the kubeconfig; by default its current one."
    )
    namespaces: tuple[_Namespace, ...] = option(
        (),
        doc="The namespaces to look into; by default all of them, for which a ClusterRole is"
        " needed.",
    )
    selector: _Selector | None = option(
        None, doc="A label selector of Kubernetes for routes and Ingresses, such as team=shop."
    )
    resources: tuple[Literal["ingresses", "httproutes", "grpcroutes", "tlsroutes"], ...] = option(
        ("ingresses", "httproutes", "grpcroutes", "tlsroutes"),
        doc="The kinds of objects that become sites.",
    )
    annotations: _Prefix = option(
        "monitor.example", doc="The prefix of annotations, before the slash."
    )
    enabled: bool = option(
        True, doc="Whether a route without the annotation enabled becomes a site."
    )

    def __post_init__(self) -> None:
        if not self.resources:
            raise ValueError("resources is empty; list what sites are made of")
        if self.context == "":
            raise ValueError("context is empty; name one of the kubeconfig, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    host: _Host = option(
        "unix:///run/docker.sock", doc="Where the API of Docker, or Podman, listens."
    )
    refresh: Refresh = option(
        60.0, doc="How often all containers are listed, in addition to Docker's events."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SitemapOptions:
    url: _Url = option(doc="A sitemap, or an index of sitemaps, compressed or not.")
    sample: Annotated[int, whole(1, _MOST_PAGES)] = option(
        50, doc="How many of its pages become sites; they stay the same while they are listed."
    )
    refresh: Refresh = option(3600.0, doc="How often the sitemap is fetched.")
    timeout: Refresh = option(30.0, doc="How long the whole answer may take.")


SOURCES: Mapping[str, SourceKind] = {
    "file": SourceKind(FileOptions, "Files in the form of Prometheus' file_sd."),
    "http": SourceKind(
        HttpSourceOptions, "A server that answers in the form of Prometheus' http_sd."
    ),
    "kubernetes": SourceKind(KubernetesOptions, "Ingresses and the routes of the Gateway API."),
    "docker": SourceKind(DockerOptions, "Running containers with labels that begin with monitor."),
    "sitemap": SourceKind(SitemapOptions, "Pages that a sitemap lists."),
}
