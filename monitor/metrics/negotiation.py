"""Decides which of the two text formats a client gets; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS

from monitor.accept import MediaRange, wishes

_Rank: TypeAlias = tuple[float, int, int]
"""The rank of a format: its weight, how exactly it is named, and how early."""
_UNWANTED: _Rank = (0.0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Format:
    """
    A format in which series are offered.

    Attributes:
        names: Its names in an Accept header, the most exact last.
        version: The versions that a client may name.
    """

    content_type: str
    openmetrics: bool
    names: tuple[str, ...]
    version: re.Pattern[str]


_TEXT = _Format(
    content_type=CONTENT_TYPE_PLAIN_0_0_4,
    openmetrics=False,
    names=("*/*", "text/*", "text/plain"),
    version=re.compile(r"0\.0\.4"),
)
_OPENMETRICS = _Format(
    content_type=CONTENT_TYPE_OPENMETRICS,
    openmetrics=True,
    names=("*/*", "application/*", "application/openmetrics-text"),
    version=re.compile(r"1(\.[0-9]{1,5}){0,2}"),
)


def negotiate(accept: str) -> tuple[str, bool]:
    """
    Return the content type for an Accept header, and whether it is OpenMetrics.

    The higher weight decides (RFC 9110, 12.5.1), then the more exact name, then the earlier one.
    A client that has no preference or takes neither gets text, as from other exporters:

        application/openmetrics-text;q=0.6,text/plain;q=0.3     OpenMetrics
        application/openmetrics-text,*/*                        OpenMetrics
        application/openmetrics-text;q=0,*/*                    text
        application/openmetrics-text;version=0.0.1              text
    """
    listed = tuple(wishes([accept]))
    best = max((_TEXT, _OPENMETRICS), key=lambda one: _rank(one, listed))
    return best.content_type, best.openmetrics


def _rank(one: _Format, listed: Iterable[MediaRange]) -> _Rank:
    found = [
        (one.names.index(wish.name), "version" in wish.parameters, -place, wish.quality)
        for place, wish in enumerate(listed)
        if wish.name in one.names and _fits(one, wish)
    ]
    # If several ranges match, the most exact one gives the weight
    exact, _, place, quality = max(found, default=(0, False, 0, 0.0))
    return (quality, exact, place) if quality else _UNWANTED


def _fits(one: _Format, wish: MediaRange) -> bool:
    version = wish.parameters.get("version")
    charset = wish.parameters.get("charset", "utf-8")
    return charset.lower() == "utf-8" and (version is None or bool(one.version.fullmatch(version)))
