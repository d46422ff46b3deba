"""The order of names."""

import pytest

from monitor.naming import natural_key


@pytest.mark.parametrize(
    "ordered",
    [
        ["shop", "shop-2", "shop-2a", "shop-10", "Shop-11"],
        ["1", "2", "10", "a", "B"],
        ["v1.9", "v1.10", "v2"],
        ["", "0", "00", "1", "a"],
        ["x", "x0", "x1", "x1a", "x2", "xa"],
        ["a", "a" + "9" * 5000, "a1" + "0" * 5000],
        ["Zürich-2", "zürich-10"],
    ],
)
def test_names_sort_as_people_count(ordered):
    """Digits sort as numbers of any length, capitals as small letters, and ties have one order."""
    assert sorted(set(ordered), key=natural_key) == ordered
