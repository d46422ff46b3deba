"""Plain scalars have the types of YAML 1.2."""

import math

import pytest

from monitor.config.nodes import read_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, text) for text in ("yes", "no", "on", "off", "y", "12:30", "1_000", "0b1", "-")],
        *[(text, text) for text in ("2026-11-22", "1.1.1.1", "+x", ".", "1e", "0xg", "9" * 5000)],
        *[(text, None) for text in ("", "~", "null", "NULL")],
        *[("true", True), ("False", False)],
        *[("0", 0), ("-12", -12), ("+7", 7), ("0o17", 15), ("0x1F", 31), ("017", 17)],
        *[("1.5", 1.5), (".5", 0.5), ("-1.", -1.0), ("1e3", 1000.0), ("1.1", 1.1)],
        *[(".inf", math.inf), ("-.INF", -math.inf)],
    ],
)
def test_a_plain_scalar_is_what_editors_take_it_for(text, value):
    """Types follow the core schema of YAML 1.2, without the surprises of 1.1."""
    read = read_plain(text)
    assert (type(read), read) == (type(value), value)
