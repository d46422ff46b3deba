"""
What the places that check sites and the hub that combines them exchange: only records.

A *place* is one location (``fra``); each of its daemons reports the state that it has confirmed for
each site. Times in a report are on the place's clock; the hub converts them to its own.
"""

from dataclasses import dataclass
from enum import StrEnum

from monitor.model import Reason, Status
from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


class Abstention(StrEnum):
    """Why a check says nothing about its site."""

    ERROR = "error"
    """The monitor could not look or judge."""
    CONNECTION = "connection"
    """The place's own connection is lost: none of its connectivity targets answers."""


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Report:
    """
    One check of a site, and the state that its place has confirmed after it.

    Attributes:
        time: When the check began.
        up: None if the check says nothing; ``trouble`` is then set.
        reason: Of the failure; None if the check was up, or if the reason is not known here.
        message: Why the check was not up, without secrets; may be empty.
        status: The place's confirmed state; unknown until its first check has confirmed one.
        since: When that state began.
        first: The first failed check of the current series of failures; None if the last was up.
    """

    site: str
    time: Timestamp
    duration: Seconds
    up: bool | None
    reason: Reason | None = None
    message: str = ""
    trouble: Abstention | None = None
    status: Status
    since: Timestamp
    first: Timestamp | None = None


@dataclass(frozen=True, slots=True, order=True)
class Sender:
    """
    One daemon of a place.

    Attributes:
        part: The part of the sites that it checks: ``2/5``.
    """

    location: str
    part: str = "1/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOfLife:
    """
    What a daemon of a place reports about itself every few seconds.

    Attributes:
        sent: On its clock.
        version: The version of its program.
        fingerprint: The fingerprint of its site list.
        sites: How many sites it checks.
        waiting: Reports that it could not deliver yet.
        waiting: Reports that it could not deliver yet.
        dropped: Reports that were lost because too many waited.
    """

    sender: Sender
    sent: Timestamp
    version: str
    fingerprint: str
    sites: int = 0
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBatch:
    """
    Reports of one daemon, in the order of its checks.

    Attributes:
        id: Unique for each message; a message that is delivered twice has the same id.
        sent: On the place's clock, when the message left.
        stored: On the server's clock, when it arrived there.
    """

    sender: Sender
    id: str
    sent: Timestamp
    stored: Timestamp
    reports: tuple[Report, ...]


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Ballot:
    """
    A place's latest word about a site, on the hub's clock.

    Attributes:
        sender: The daemon that sent it.
        time: The time of the check.
        first: As in Report.
    """

    sender: Sender
    time: Timestamp
    status: Status
    since: Timestamp
    first: Timestamp | None = None
    reason: Reason | None = None
    message: str = ""
    trouble: Abstention | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """
    How far one partition of the stream has been read.

    Attributes:
        sequence: The number of the last message that was applied.
    """

    partition: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    The state of a location, over all its daemons.

    Attributes:
        up: Whether all of them are reporting.
        last_seen: The last message of the daemon that has been silent the longest, on our clock.
        skew: How far its clock is ahead of ours, for the daemon with the largest difference.
    """

    location: str
    up: bool = False
    last_seen: Timestamp = 0.0
    skew: Seconds = 0.0
    list_differs: bool = False
    waiting: int = 0
    dropped: int = 0
