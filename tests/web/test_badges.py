"""Badges, as pictures and in Shields' form."""

from xml.etree import ElementTree as ET

import pytest

from monitor.model import Status
from monitor.past import LatencyPoint, Uptime
from monitor.web.badges import (
    COLOURS,
    Badge,
    as_shields,
    as_svg,
    asked_by,
    latency_badge,
    status_badge,
    uptime_badge,
)
from monitor.web.words import NO_DATA
from tests.narrowing import known
from tests.web import states


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/badges/shop/status.svg", ("shop", "status", "", "svg")),
        ("/badges/shop/uptime/30d.svg", ("shop", "uptime", "30d", "svg")),
        ("/badges/a/b/latency/24h.json", ("a/b", "latency", "24h", "json")),
        ("/badges/x/uptime/30d.svg/status.json", ("x/uptime/30d.svg", "status", "", "json")),
        ("/badges/two\nlines/status.svg", ("two\nlines", "status", "", "svg")),
    ],
)
def test_what_a_path_asks_for(path, asked):
    """Names may contain slashes, and any text that paths of badges are made of."""
    found = known(asked_by(path))
    assert (found.site, found.kind, found.window, found.form) == asked


@pytest.mark.parametrize(
    "path",
    [
        "/badges/shop/status.png",
        "/badges/shop/status/30d.svg",
        "/badges/shop/uptime.svg",
        "/badges/shop/uptime/31d.svg",
        "/badges/shop/uptime/\N{ARABIC-INDIC DIGIT THREE}0d.svg",
        "/badges//status.svg",
        "/badges/status.svg",
        "/x/badges/shop/status.svg",
    ],
)
def test_what_is_no_badge(path):
    """Other windows, forms and places are not badges."""
    assert asked_by(path) is None


@pytest.mark.parametrize(
    ("down", "colour"),
    [
        (0.0, "#1f7a48"),
        (0.1, "#1f7a48"),
        (0.11, "#5a6f12"),
        (1.0, "#5a6f12"),
        (1.1, "#9a5b00"),
        (5.0, "#9a5b00"),
        (5.1, "#b3261e"),
    ],
)
def test_colours_go_by_nines(down, colour):
    """99.9, 99 and 95 % separate good from fair, poor and bad."""
    assert uptime_badge("30d", Uptime(window=100.0, up=100 - down, down=down)).colour == colour


def test_what_badges_say():
    """Badges show state, uptime with coverage, or latency; a dash, never 100 %, if not observed."""
    assert status_badge(states.down("shop")).message == "down"
    seen = Uptime(window=200.0, up=99.0, down=1.0)
    assert uptime_badge("30d", seen).message == "99.000 % of 50.0 % observed"
    nothing = [None, Uptime(window=200.0, up=0.0, down=0.0)]
    assert {uptime_badge("30d", one).message for one in nothing} == {NO_DATA}
    point = LatencyPoint(begin=0.0, count=3, p50=0.12, p95=0.2, p99=0.5, max=0.6)
    assert latency_badge("24h", point).message == "p50 120 ms, p99 500 ms"
    assert latency_badge("24h", LatencyPoint(begin=0.0, count=0)).message == NO_DATA
    assert latency_badge("24h", None).message == NO_DATA


@pytest.mark.parametrize("text", ['<script>alert("1")</script>', "a&b", "ünïcödé ✓", "x" * 3000])
def test_pictures_are_whole_whatever_the_name(text):
    """The SVG is well-formed for any name, shows the text, and has a label for screen readers."""
    badge = status_badge(states.up(text))
    picture = ET.fromstring(as_svg(badge))

    label = text if len(text) <= 60 else text[:59] + "…"
    assert picture.get("aria-label") == f"{label}: up"
    assert [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")] == [label, "up"]
    assert int(known(picture.get("width"))) < 600


@pytest.mark.parametrize("status", list(Status))
def test_letters_can_be_read(status):
    """White text on each colour has the contrast that WCAG 2.2, 1.4.3 requires."""

    def light(colour):
        parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        red, green, blue = (
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    shades = {status_badge(states.up("a")).colour, "#3b4048"}
    shades |= {
        uptime_badge("7d", Uptime(window=1.0, up=up, down=1 - up)).colour
        for up in (1, 0.995, 0.96, 0.5)
    }
    shades.add(COLOURS[status])
    assert all(1.05 / (light(one) + 0.05) >= 4.5 for one in shades)


def test_the_form_that_shields_reads():
    """The JSON follows version 1 of the schema of Shields' endpoint."""
    assert as_shields(Badge("uptime 30d", NO_DATA, "#5d636c"), good_for=300.0) == {
        "schemaVersion": 1,
        "label": "uptime 30d",
        "message": NO_DATA,
        "color": "#5d636c",
        "cacheSeconds": 300,
    }
