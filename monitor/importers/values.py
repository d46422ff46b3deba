"""Writes values as in our files."""

import re
from typing import Any

from monitor.options import show_duration
from monitor.units import Seconds

_DAY: Seconds = 86400.0
_WEEK = 7 * _DAY


def show(seconds: Seconds) -> str:
    """Return a duration as people write it: whole units, and days rather than weeks."""
    whole = round(seconds, 3)
    if whole >= 1 and whole % 1:
        return f"{round(whole * 1000)}ms"
    return f"{whole / _DAY:g}d" if whole and whole % _WEEK == 0 else show_duration(whole)


def quoted(text: str) -> str:
    """Return a pattern that matches the text; only special characters are escaped."""
    return re.sub(r"([\\.+*?()\[\]{}|^$])", r"\\\1", text)


def bracketed(host: str) -> str:
    """Return a host as written in URLs: an IPv6 address in brackets."""
    host = host.strip()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def add_rule(rules: dict[str, Any], key: str, value: Any) -> None:
    """Write a rule such as ``contains``; several of the same kind become a list."""
    if key not in rules:
        rules[key] = value
    elif isinstance(rules[key], list):
        rules[key].append(value)
    else:
        rules[key] = [rules[key], value]
