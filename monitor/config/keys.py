"""The keys of a site apart from its probe's options, and the tables that add those options."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from monitor.model import (
    Confirm,
    ExpectationKind,
    ProbeKind,
    ReadingKind,
    RecurringWindow,
    SingleWindow,
    Site,
    SourceKind,
    Window,
)
from monitor.notify import ReceiverOptions
from monitor.options import Duration, Parsed, Zone, duration, option, whole
from monitor.units import Seconds

_SHORTEST_INTERVAL: Seconds = 0.1
_SHORTEST_TIMEOUT: Seconds = 0.001
_LARGEST_COUNT = 1_000_000

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Tables:
    """
    The tables from which the daemon builds the configuration.

    Attributes:
        probes: By URL scheme.
        expectations: By key under ``expect``, in the order of a transaction.
        readings: By key of a site: values read from answers in addition to the verdict.
        reserved_labels: Names that a site's own labels cannot have.
        modules: The built-in modules, as YAML.
        sources: The kinds of sources of sites, by their keys below ``discover``.
        check_receiver: Raises OptionError for a receiver that cannot be sent to.
    """

    probes: Mapping[str, ProbeKind]
    expectations: Mapping[str, ExpectationKind]
    readings: Mapping[str, ReadingKind] = field(default_factory=dict)
    reserved_labels: frozenset[str] = frozenset()
    modules: str = "{}"
    sources: Mapping[str, SourceKind] = field(default_factory=dict)
    check_receiver: Callable[[ReceiverOptions], None] | None = None

    def protocol_of(self, scheme: str) -> str:
        return self.probes[scheme].protocol


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?")


def _day(value: Any) -> int:
    if value not in _DAYS:
        raise ValueError(f"must be one of {', '.join(_DAYS)}, not {value!r}")
    return _DAYS.index(value)


def _time(value: Any) -> time:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is not a time of day such as 22:00, from 00:00 to 23:59")
    return time.fromisoformat(value)


def wall_time(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what clocks in a zone show at a moment that may say its own offset from UTC."""
    return moment.astimezone(zone).replace(tzinfo=None) if moment.tzinfo else moment


def _moment(value: Any) -> datetime:
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a moment: {error}") from None
    raise ValueError(
        f"{value!r} is not a moment such as 2026-12-01T22:00, in the zone of the timezone beside "
        "it, or 2026-12-01T22:00Z"
    )


_Day = Annotated[int, Parsed(_day, {"enum": list(_DAYS)})]
_Time = Annotated[time, Parsed(_time, {"type": "string", "pattern": f"^({_TIME.pattern})$"})]
Moment = Annotated[datetime, Parsed(_moment, {"type": "string", "pattern": f"^{_MOMENT.pattern}$"})]
_Interval = Annotated[Seconds, duration(_SHORTEST_INTERVAL)]
Timeout = Annotated[Seconds, duration(_SHORTEST_TIMEOUT)]
_Count = Annotated[int, whole(1, _LARGEST_COUNT)]

# Their defaults are in the records that the daemon works with, and nowhere else
_SITE: dict[str, Any] = {one.name: one.default for one in dataclasses.fields(Site)}
_CONFIRM = Confirm()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmKeys:
    failures: _Count = option(
        _CONFIRM.failures,
        doc="Consecutive failures required to change the confirmed state to down.",
    )
    successes: _Count = option(
        _CONFIRM.successes,
        doc="Consecutive successes required to change the confirmed state to up.",
    )
    retry_interval: _Interval = option(
        _CONFIRM.retry_interval,
        doc="How often the site is checked while a failure awaits confirmation.",
    )


_PAIRS = ("from_", "to", "start", "end")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowKeys:
    """A recurring window, with ``from`` and ``to``, or a one-time one: ``start``, ``end``."""

    days: tuple[_Day, ...] = option(
        (), doc="Days on which it begins: mon, tue …; by default every day."
    )
    from_: _Time | None = option(None, doc="When it begins, such as 22:00.")
    to: _Time | None = option(
        None, doc="When it ends; a time at or before from is on the next day."
    )
    start: Moment | None = option(
        None,
        doc="When it begins if it happens once, such as 2026-12-01T22:00 or 2026-12-01T22:00Z.",
    )
    end: Moment | None = option(None, doc="When it ends if it happens once.")
    timezone: Zone = option(ZoneInfo("UTC"), doc="Time zone of these times, such as Europe/Berlin.")

    def __post_init__(self) -> None:
        given = [key for key in _PAIRS if getattr(self, key) is not None]
        if given not in (["from_", "to"], ["start", "end"]):
            raise ValueError(
                "set both from and to, or both start and end for a window that happens once"
            )
        window = self.window()
        if isinstance(window, SingleWindow) and window.end <= window.start:
            raise ValueError("end must be later than start")
        if self.start and self.days:
            raise ValueError("days go with from and to; a window with start and end happens once")

    def window(self) -> Window:
        """Return the record that the daemon works with."""
        if self.start is not None and self.end is not None:
            return SingleWindow(
                start=wall_time(self.start, self.timezone),
                end=wall_time(self.end, self.timezone),
                zone=self.timezone,
            )
        assert self.from_ is not None and self.to is not None  # noqa: S101, PT018  see __post_init__
        days = frozenset(self.days or range(len(_DAYS)))
        return RecurringWindow(days=days, start=self.from_, end=self.to, zone=self.timezone)


def _parent(value: Any) -> str | tuple[str, str]:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, dict) and len(value) == 1:
        [(label, text)] = value.items()
        if isinstance(text, str):
            return str(label), text
    raise ValueError(f"must be a site's name or one {{label: value}}, not {value!r}")


Parent = Annotated[
    str | tuple[str, str],
    Parsed(
        _parent,
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "string"},
                },
            ]
        },
    ),
]
"""A site's name, or a label and its value, which means all other sites that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKeys:
    """The keys of every site, for any scheme."""

    url: str = option(doc="What is checked; the scheme picks the probe.")
    name: str | None = option(
        None,
        doc="Unique over all files; by default the URL without scheme, credentials and trailing"
        " slash.",
    )
    was: str = option(
        _SITE["was"], doc="Its previous name: the site keeps the state and history of that name."
    )
    group: str = option(_SITE["group"], doc="A heading of the status page, and a label.")
    labels: Mapping[str, str] = option(
        factory=dict, doc="Labels of this site's series; values are texts."
    )
    interval: _Interval = option(
        _SITE["interval"], doc="From the start of one check to the start of the next."
    )
    timeout: Timeout | None = option(
        None,
        doc="Time limit for everything a check does; by default 10s, or the interval if that is"
        " shorter.",
    )
    confirm: ConfirmKeys = option(
        ConfirmKeys(), doc="Consecutive results required to change the confirmed state."
    )
    maintenance: tuple[WindowKeys, ...] = option(
        (), doc="Windows in which the site is checked as usual, but shown as in maintenance."
    )
    connectivity: bool = option(
        _SITE["connectivity"],
        doc="Whether failures count only while a connectivity target answers; false for a site"
        " that is local and does not need the monitor's own connection.",
    )

    notify: tuple[str, ...] | None = option(
        _SITE["notify"],
        doc="Names of the receivers that get messages about this site; by default all of them.",
    )
    depends_on: tuple[Parent, ...] = option(
        (),
        doc="Sites whose outages explain an outage of this one, by name or as {label: value}: while"
        " one of them is down, no message says that this one is.",
    )

    def deadline(self) -> Seconds:
        """Return the timeout, or its default."""
        if self.timeout is not None:
            return self.timeout
        return float(min(_SITE["timeout"], self.interval))


PLACE = "{target}"
_TEMPLATE = re.compile(rf"[a-z]+://[^/?#]*{re.escape(PLACE)}.*")


def _template(value: Any) -> str:
    if not isinstance(value, str) or not _TEMPLATE.fullmatch(value) or value.count(PLACE) != 1:
        raise ValueError(
            f"{value!r} is not a URL with {PLACE} instead of its host, such as tcp://{PLACE}"
        )
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleKeys:
    """The keys that every module has, in addition to the sections and ``expect`` of a site."""

    url: Annotated[str, Parsed(_template, {"type": "string", "pattern": r"://.*\{target\}"})] = (
        option(
            f"http://{PLACE}",
            doc="What is checked; a target without a scheme takes the place of {target}.",
        )
    )
    timeout: Timeout | None = option(
        None, doc="The longest a check may take; by default as long as Prometheus waits."
    )


_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def _source_name(value: Any) -> str:
    if not isinstance(value, str) or not _SOURCE_NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name; write up to 63 letters, digits and any of _ . -"
        )
    return value


_SourceName = Annotated[
    str, Parsed(_source_name, {"type": "string", "pattern": f"^{_SOURCE_NAME.pattern}$"})
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKeys:
    """The keys that every source has, in addition to the key of its kind and ``defaults``."""

    name: _SourceName | None = option(
        None, doc="Names the source in messages and labels; by default its kind."
    )
    limit: _Count = option(
        1000, doc="The longest list that is accepted; a longer one changes nothing."
    )
    gone: Duration = option(
        600.0, doc="How long a site that vanished from the list is still checked."
    )
