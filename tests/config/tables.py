"""Test probes and expectations that together use every type of the configuration language."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest

from monitor.analysis.readings import READINGS
from monitor.config.load import Tables
from monitor.model import ExpectationKind, ProbeKind, Reason
from monitor.options import Duration, FilePath, Parsed, Regex, Secret, Size, option


class Color(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    username: str = option(doc="Who.")
    password: Secret = option(doc="What only they know.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    send: str | None = option(None, doc="What is sent.")
    expect: Regex | None = option(None, doc="What must come.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    method: str = option("GET", doc="The method.")
    headers: Mapping[str, str] = option(factory=dict, doc="Headers.")
    login: Login | None = option(None, doc="Log in.")
    token: Secret | None = option(None, doc="A token.")
    body_file: FilePath | None = option(None, doc="The body.")
    follow: bool = option(True, doc="Whether to follow.")
    hops: int = option(10, doc="How many hops.")
    ratio: float = option(0.5, doc="Some ratio.")
    version: Literal["auto", "1.1", "2"] = option("auto", doc="The version.")
    color: Color = option(Color.RED, doc="The color.")
    limit: Size = option(1024**2, doc="The largest body.")
    pause: Duration = option(1.5, doc="A pause.")
    tags: tuple[str, ...] = option((), doc="Tags.")
    steps: tuple[Step, ...] = option((), doc="A dialogue.")
    proxy: str | None = option(None, doc="A proxy's URL.")

    def __post_init__(self) -> None:
        if self.login and self.token:
            raise ValueError("login and token cannot be used together")
        if self.hops < 0:
            raise ValueError("hops must be at least 0")
        if "forbidden" in self.tags:
            raise ValueError(f"tags are forbidden with {self.token}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetOptions:
    ip: Literal["auto", "4", "6"] = option("auto", doc="The IP version.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PingOptions:
    count: int = option(3, doc="How many packets.")
    class_: Literal["IN", "CH"] = option("IN", doc="A key that is a keyword of Python.")


def parse_status(value: Any) -> tuple[int, ...]:
    codes = value if isinstance(value, list) else [value]
    if not all(isinstance(code, int) for code in codes):
        raise ValueError(f"{value!r} is not a status such as 200")
    return tuple(codes)


def parse_text(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str):
        return (("contains", value),)
    if not isinstance(value, dict):
        raise ValueError("must be a text or a mapping")
    return tuple(value.items())


def check_ping_url(url: str) -> None:
    if "://" in url and "/" in url.partition("://")[2]:
        raise ValueError(f"{url} has a path, and a ping goes to a host")


Status = Annotated[tuple[int, ...], Parsed(parse_status, {"type": "integer"})]
Content = Annotated[Any, Parsed(parse_text, {"type": ["string", "object"]})]

_WEB = ProbeKind(
    protocol="http",
    build=lambda _: pytest.fail("config builds no probe"),
    sections={"web": WebOptions, "net": NetOptions},
)
_PING = ProbeKind(
    protocol="ping",
    build=lambda _: pytest.fail("config builds no probe"),
    sections={"ping": PingOptions, "net": NetOptions},
    check_url=check_ping_url,
)


def _kind(**values: Any) -> ExpectationKind:
    return ExpectationKind(reason=Reason.STATUS, check=lambda _value, _seen: None, **values)


TABLES = Tables(
    probes={"http": _WEB, "https": _WEB, "ping": _PING},
    expectations={
        "status": _kind(
            shape=Status,
            protocols=frozenset({"http"}),
            defaults={"http": (200,)},
            doc="The answer's status.",
        ),
        "body": _kind(
            shape=Content, protocols=frozenset({"http"}), reads_body=True, doc="The body."
        ),
        "latency": _kind(
            shape=Duration, protocols=frozenset({"http", "ping"}), doc="The whole check."
        ),
    },
    readings=READINGS,
    reserved_labels=frozenset({"site", "target"}),
)
