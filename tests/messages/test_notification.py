"""The port between the outbox and the receivers."""

import pytest

from monitor.messages.notification import fingerprint_of


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "cbf29ce484222325"),
        ({"alertname": "SiteDown", "site": "shop"}, "1c7c94f472847280"),
    ],
)
def test_a_fingerprint_is_that_of_alertmanager(labels, expected):
    """It is FNV-1a over sorted names and values; the receiver's test compares the real one."""
    assert fingerprint_of(labels) == expected
    assert fingerprint_of(dict(reversed(labels.items()))) == expected
