"""
The options of each kind of source, and the table of the kinds. Light: it is read with every list.

The module of the same name as the kind is loaded when a list has such a source.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from monitor.model import SourceKind
from monitor.options import Duration, FilePath, Parsed, Secret, option, parse_duration
from monitor.units import Seconds

_SHORTEST_REFRESH: Seconds = 1.0
_LONGEST: Seconds = 366 * 86400
_URL = re.compile(r"https?://[^\s/?#]+(?:[/?][^\s#]*)?")
_HOST = re.compile(r"unix:///[^\s]+|https?://[^\s/?#@]+")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def _refresh(value: Any) -> Seconds:
    seconds = parse_duration(value)
    if not _SHORTEST_REFRESH <= seconds <= _LONGEST:
        raise ValueError(f"must be from 1s to 366d, not {value}")
    return seconds


def _url(value: Any) -> str:
    # May hold a password, and is not quoted for that reason
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ValueError("is not a URL such as https://inventory.example.com/targets")
    return value


def _host(value: Any) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError(
            f"{value!r} is neither unix:///run/docker.sock nor http://HOST:PORT or https://HOST:PORT"
        )
    return value.rstrip("/")


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ValueError(f"{value!r} is not a prefix such as monitor.example")
    return value


def _sample(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_PAGES:
        raise ValueError(f"must be a whole number from 1 to {_MOST_PAGES}, not {value!r}")
    return value


_MOST_PAGES = 50_000
"""As many as one sitemap may have."""
Refresh = Annotated[Seconds, Parsed(_refresh, get_args(Duration)[1].schema)]
_Url = Annotated[str, Parsed(_url, {"type": "string", "format": "uri"})]
_Host = Annotated[str, Parsed(_host, {"type": "string", "pattern": f"^({_HOST.pattern})$"})]
_Prefix = Annotated[str, Parsed(_prefix, {"type": "string", "pattern": f"^{_PREFIX.pattern}$"})]
_Sample = Annotated[int, Parsed(_sample, {"type": "integer", "minimum": 1, "maximum": _MOST_PAGES})]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    paths: tuple[str, ...] = option(
        doc="JSON and YAML files in the form of Prometheus' file_sd: paths relative to this file,"
        " where *, ? and ** are allowed. A change is noticed at once."
    )
    scheme: str | None = option(
        None, doc="The scheme of targets that have none, such as https; without it they are errors."
    )

    def __post_init__(self) -> None:
        if not self.paths or not all(path and path.isprintable() for path in self.paths):
            raise ValueError("paths must name at least one file or pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    url: _Url = option(doc="Where the list is, in the form of Prometheus' http_sd.")
    refresh: Refresh = option(60.0, doc="How often it is asked for.")
    timeout: Refresh = option(10.0, doc="How long the whole answer may take.")
    headers: Mapping[str, Secret] = option(
        factory=dict, doc="Headers to send, such as Authorization; all of them are secret."
    )
    ca_file: FilePath | None = option(
        None, doc="Authorities that the server's certificate may be from, instead of the usual."
    )
    scheme: str | None = option(
        None, doc="The scheme of targets that have none, such as https; without it they are errors."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesOptions:
    kubeconfig: FilePath | None = option(
        None, doc="How to reach the API server; by default as the pod's own service account."
    )
    context: str | None = option(
        None, doc="Which context of the kubeconfig; by default its current one."
    )
    namespaces: tuple[str, ...] = option(
        (),
        doc="The namespaces that are looked into; by default all, for which a ClusterRole is"
        " needed.",
    )
    selector: str | None = option(
        None, doc="A label selector of Kubernetes for routes and Ingresses, such as team=shop."
    )
    resources: tuple[Literal["ingresses", "httproutes", "grpcroutes", "tlsroutes"], ...] = option(
        ("ingresses", "httproutes", "grpcroutes", "tlsroutes"), doc="What sites are made of."
    )
    annotations: _Prefix = option(
        "monitor.example", doc="What stands before the slash in the names of annotations."
    )
    enabled: bool = option(
        True, doc="Whether routes are sites whose annotations do not say so or otherwise."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    host: _Host = option(
        "unix:///run/docker.sock", doc="Where the API of Docker, or Podman, listens."
    )
    refresh: Refresh = option(
        60.0, doc="How often all containers are listed, beside the events that are waited for."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SitemapOptions:
    url: _Url = option(doc="A sitemap, or an index of sitemaps, packed or not.")
    sample: _Sample = option(
        50, doc="How many of its pages become sites; the same ones for as long as they are listed."
    )
    refresh: Refresh = option(3600.0, doc="How often it is asked for.")
    timeout: Refresh = option(30.0, doc="How long the whole answer may take.")


SOURCES: Mapping[str, SourceKind] = {
    "file": SourceKind(FileOptions, "Files in the form of Prometheus' file_sd."),
    "http": SourceKind(HttpOptions, "A server that answers in the form of Prometheus' http_sd."),
    "kubernetes": SourceKind(KubernetesOptions, "Ingresses and the routes of the Gateway API."),
    "docker": SourceKind(DockerOptions, "Running containers with labels that begin with monitor."),
    "sitemap": SourceKind(SitemapOptions, "Pages that a sitemap lists."),
}
