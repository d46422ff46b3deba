"""What numbers count. Whatever has another unit says so in its name."""

from typing import TypeAlias

Seconds: TypeAlias = float
Timestamp: TypeAlias = float
"""Seconds since 1970 in UTC, by the wall clock."""
Bytes: TypeAlias = int
