"""Bars and curves, drawn as SVG paths."""

import re

import pytest

from monitor.past import Condition, Day, LatencyPoint, Uptime
from monitor.web.charts import SCALE, day_bars, harmed_days, latency_chart
from tests.web.past import DAY, FakeHistory, down, span

NOW = 1_800_000_000.0
TODAY = NOW // DAY * DAY


def day(number, *, up=DAY, down=0.0, maintenance=0.0):
    return Day(
        begin=TODAY - DAY * number,
        uptime=Uptime(window=DAY, up=up, down=down, outages=int(down > 0)),
        maintenance=maintenance,
    )


def test_days_that_are_alike_are_one_dash_line():
    """The bars of a site that was up for 90 days are one short path."""
    bars = day_bars([day(number) for number in reversed(range(90))])

    assert (bars.up, bars.down, bars.unseen, bars.maintenance) == ("M0 10h359", "", "", "")
    assert bars.summary == "last 90 days: no downtime observed"
    assert bars.uptime.ratio == 1.0


@pytest.mark.parametrize(
    ("seconds", "height"), [(1.0, 5), (87.0, 10), (1000.0, 15), (4400.0, 20), (DAY, 20)]
)
def test_downtime_is_as_tall_as_the_nines_it_cost(seconds, height):
    """The height of a day's stripe, not only its colour, shows how bad the day was."""
    bars = day_bars([day(1), day(0, up=DAY - seconds, down=seconds)])

    assert bars.down == f"M5.5 20v-{height}"


def test_days_without_an_observation_are_neither_up_nor_down():
    """Days without observation, and days of maintenance only, have their own bars and no uptime."""
    bars = day_bars([day(3, up=0.0), day(2, up=0.0), day(1, up=0.0, maintenance=DAY), day(0)])

    assert (bars.unseen, bars.maintenance, bars.up) == ("M0 10h7", "M8 10h3", "M12 10h3")
    assert bars.uptime.coverage == 0.25
    assert day_bars([day(0, up=0.0)]).summary == "last 1 days: nothing was observed"
    assert day_bars([]).width == 0


def test_bars_of_spans():
    """An outage over midnight counts on both days, and the list has the newest day first."""
    history = FakeHistory(
        span("a", TODAY - 3 * DAY, TODAY - 600),
        down("a", TODAY - 600, TODAY + 600),
        span("a", TODAY + 600, None),
    )
    days = history.days(["a"], days=90, now=NOW)["a"]

    assert day_bars(days).summary == "last 90 days: downtime on 2 of them, 20 min in all"
    assert [(one.day, one.down) for one in harmed_days(days)] == [
        ("2027-01-15", "10 min"),
        ("2027-01-14", "10 min"),
    ]


def test_maintenance_beside_an_observation_is_an_observed_day():
    """A window of two hours does not make the whole day a maintenance day."""
    history = FakeHistory(
        span("a", TODAY - DAY, TODAY - DAY + 7200, Condition.MAINTENANCE),
        span("a", TODAY - DAY + 7200, None),
    )

    assert day_bars(history.days(["a"], days=2, now=NOW)["a"]).maintenance == ""


# ---------------------------------------------------------------- latency


def chart(points, outages=(), *, begin=0.0, end=1000.0, step=100.0):
    return latency_chart("24 hours", points, outages, begin=begin, end=end, step=step)


def point(begin, p50, p99=None, count=5):
    return LatencyPoint(begin=begin, count=count, p50=p50, p95=p99, p99=p99, max=p99)


def test_a_gap_is_a_gap():
    """The curve does not bridge steps without a check, and still draws an isolated point."""
    none = LatencyPoint(begin=200.0, count=0)
    drawn = chart([point(0.0, 0.1, 0.2), point(100.0, 0.1, 0.2), none, point(500.0, 0.2, 0.2)])

    assert drawn.p50 == "M50 500h0L150 500M550 0h0"
    assert drawn.p99 == "M50 0h0L150 0M550 0h0"
    assert drawn.summary == "p50 from 100 ms to 200 ms, p99 up to 200 ms"


def test_nothing_to_draw():
    """A chart without points says so, and has no curve."""
    assert chart([]).p50 == ""
    assert chart([LatencyPoint(begin=0.0, count=0)]).summary == "no check that was up is remembered"


def test_outages_are_bands_at_least_a_unit_wide():
    """Short outages stay visible, adjacent ones are joined, and those out of range are left out."""
    bands = chart(
        [],
        [
            down("a", 500.0, 500.1),
            down("a", 500.2, 500.3),
            down("a", -50.0, 10.0),
            down("a", 990.0, None),
            down("a", -20.0, 0.0),
            down("a", 1000.0, 1001.0),
        ],
    ).outages

    assert re.findall(r"M(\d+) 0H(\d+)", bands) == [("0", "11"), ("500", "501"), ("990", "1001")]


@pytest.mark.parametrize(
    ("tallest", "top"),
    [(0.0003, "0.5 ms"), (0.12, "200 ms"), (0.2, "200 ms"), (0.201, "500 ms"), (7.3, "10.00 s")],
)
def test_the_axis_ends_at_a_round_number(tallest, top):
    """The axis ends above every value, so that no curve leaves the picture."""
    drawn = chart([point(0.0, tallest, tallest)])

    assert drawn.durations[0].text == top
    assert all(0 <= int(y) <= SCALE for y in re.findall(r"[ML]\d+ (-?\d+)", drawn.p99))
