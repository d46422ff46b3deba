"""The units of numbers. A number with another unit says so in its name."""

from typing import TypeAlias

Seconds: TypeAlias = float
Timestamp: TypeAlias = float
"""Seconds since 1970 in UTC, on the wall clock."""
Bytes: TypeAlias = int
