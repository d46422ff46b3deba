"""What a client accepts, read from its Accept… headers (RFC 9110, 12.4.2 and 12.5); pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")

_MOST = 100
"""The limit of listed ranges; Prometheus lists six, and a head has room for thousands."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """
    One media type, coding or other range that a client accepts.

    Attributes:
        name: In lower case: ``gzip``, ``text/plain``, ``*/*``.
        parameters: Without the weight; names in lower case, values without quotes.
        quality: From 0, not at all, to 1.
    """

    name: str
    parameters: Mapping[str, str]
    quality: float


def wishes(headers: Iterable[str]) -> Iterator[MediaRange]:
    """
    Yield what the lines of one header list, in order; malformed parts are skipped.

        gzip, deflate;q=0.5      gzip with 1, deflate with 0.5
        gzip;q=9                 nothing
    """
    for part in ",".join(headers).split(",", _MOST)[:_MOST]:
        name, *written = (one.strip() for one in part.split(";"))
        parameters: dict[str, str] = {}
        for one in written:
            key, _, value = one.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        quality = parameters.pop("q", "1")
        if name and _QUALITY.fullmatch(quality):
            yield MediaRange(name.lower(), parameters, float(quality))
