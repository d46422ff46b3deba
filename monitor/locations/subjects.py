"""
The names of what travels over NATS: the stream, the subjects, and the places in them.

    monitor.reports.PARTITION.LOCATION   what a place has settled; kept by the stream
    monitor.places.LOCATION              a sign of life of each daemon, every few seconds; not kept
    monitor.questions.LOCATION           a place asks the others to check sites now; not kept

The partition stands first, so that a hub subscribes to its own; the location last, so that a place
may be permitted to publish ``monitor.reports.*.fra`` and nothing else.
"""

import re

STREAM = "MONITOR_REPORTS"
LOCATION = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What a location may be called: one token of a subject."""
ANY = "*"
"""In place of a partition or a location: all of them."""
_OF_PARTITION = re.compile(r"monitor\.reports\.([0-9]+)\.\*")


def reports(partition: int | str, location: str) -> str:
    return f"monitor.reports.{partition}.{location}"


def beats(location: str) -> str:
    return f"monitor.places.{location}"


def questions(location: str) -> str:
    return f"monitor.questions.{location}"


def location_of(subject: str) -> str:
    """Return the place that a message is from."""
    return subject.rpartition(".")[2]


def partition_of(subject: str) -> int | None:
    """Return the partition that a hub subscribes to; None for any other subject."""
    match = _OF_PARTITION.fullmatch(subject)
    return int(match[1]) if match else None
