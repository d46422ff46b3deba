"""
The names of the stream and the subjects in NATS, and the places in them.

    monitor.reports.PARTITION.LOCATION   the states that a place has confirmed; kept by the stream
    monitor.places.LOCATION              a sign of life of each daemon, every few seconds; not kept
    monitor.questions.LOCATION           a place asks the others to check sites now; not kept

The partition comes first, so that a hub subscribes to its own; the location comes last, so that a
place may be permitted to publish ``monitor.reports.*.fra`` and nothing else.
"""

import re

STREAM = "MONITOR_REPORTS"
LOCATION = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""The allowed names of a location: one token of a subject."""
ANY = "*"
"""Stands for all partitions or locations."""
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
