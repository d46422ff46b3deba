"""What may be written for a site beside its probe's options, and the tables that add these."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from monitor.model import Confirm, ExpectationKind, ProbeKind, Seconds, Site
from monitor.options import Duration, Parsed, option, parse_duration, show_duration

_SHORTEST_INTERVAL: Seconds = 0.1
_SHORTEST_TIMEOUT: Seconds = 0.001

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Tables:
    """
    What the configuration is made of, given by the daemon.

    Attributes:
        probes: By URL scheme.
        expectations: By key under ``expect``, in the order of a transaction.
        reserved_labels: Names that a site's own labels can not have.
    """

    probes: Mapping[str, ProbeKind]
    expectations: Mapping[str, ExpectationKind]
    reserved_labels: frozenset[str] = frozenset()

    def protocol_of(self, scheme: str) -> str:
        return self.probes[scheme].protocol


def _at_least(least: Seconds) -> Parsed:
    def parse(value: Any) -> Seconds:
        seconds = parse_duration(value)
        if seconds < least:
            raise ValueError(f"must be at least {show_duration(least)}, not {value}")
        return seconds

    return Parsed(parse, get_args(Duration)[1].schema)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"must be a whole number of at least 1, not {value!r}")
    return value


_Interval = Annotated[Seconds, _at_least(_SHORTEST_INTERVAL)]
_Timeout = Annotated[Seconds, _at_least(_SHORTEST_TIMEOUT)]
_Count = Annotated[int, Parsed(_count, {"type": "integer", "minimum": 1})]

# Their defaults stand in the records that the daemon works with, and nowhere else
_SITE: dict[str, Any] = {one.name: one.default for one in dataclasses.fields(Site)}
_CONFIRM = Confirm()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmKeys:
    failures: _Count = option(
        _CONFIRM.failures, doc="How many failures in a row turn the confirmed state to down."
    )
    successes: _Count = option(
        _CONFIRM.successes, doc="How many successes in a row turn the confirmed state to up."
    )
    retry_interval: _Interval = option(
        _CONFIRM.retry_interval,
        doc="How often the site is checked while a failure awaits confirmation.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKeys:
    """The keys that every site has, whatever its scheme."""

    url: str = option(doc="What is checked; the scheme picks the probe.")
    name: str | None = option(
        None,
        doc="Unique over all files; by default the URL without scheme, credentials and trailing"
        " slash.",
    )
    group: str = option(_SITE["group"], doc="A heading of the status page, and a label.")
    labels: Mapping[str, str] = option(
        factory=dict, doc="Labels of this site's series; values are texts."
    )
    interval: _Interval = option(
        _SITE["interval"], doc="From the start of one check to the start of the next."
    )
    timeout: _Timeout | None = option(
        None,
        doc="One deadline over everything a check does; by default 10s, or the interval where that"
        " is shorter.",
    )
    confirm: ConfirmKeys = option(
        ConfirmKeys(), doc="How many results in a row turn the confirmed state."
    )

    def deadline(self) -> Seconds:
        """Return the timeout, or what holds where none is written."""
        if self.timeout is not None:
            return self.timeout
        return float(min(_SITE["timeout"], self.interval))
