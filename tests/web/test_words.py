"""Shares and spans in a form that people read."""

import pytest

from monitor.past import Uptime
from monitor.web.words import NO_DATA, show_coverage, show_ratio, show_uptime


@pytest.mark.parametrize(
    ("uptime", "shown"),
    [
        (None, NO_DATA),
        (Uptime(window=100.0, up=0.0, down=0.0), NO_DATA),
        (Uptime(window=0.0, up=0.0, down=0.0), NO_DATA),
        (Uptime(window=100.0, up=100.0, down=0.0), "100 % of 100 % observed"),
        (Uptime(window=1e6, up=971_825.0, down=175.0), "99.981 % of 97.2 % observed"),
        (Uptime(window=100.0, up=0.0, down=50.0), "0.000 % of 50.0 % observed"),
        (Uptime(window=1e6, up=10.0, down=0.0), "100 % of less than 0.1 % observed"),
    ],
)
def test_uptime_is_shown_with_its_coverage(uptime, shown):
    """Uptime without an observation is a dash, never 100 %."""
    assert show_uptime(uptime) == shown


def test_nothing_is_rounded_up_to_all():
    """Uptime and coverage below 100 % are never rounded up to 100 %."""
    assert show_ratio(1 - 1e-9) == "99.999 %"
    assert show_ratio(0.9999) == "99.990 %"
    assert show_coverage(1 - 1 / 8760) == "99.9 %"
    assert show_coverage(0.1 + 0.2 + 0.7 - 1e-16) == "100 %"
