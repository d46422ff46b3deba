"""Messages as text for people, short enough for every chat, with everything counted."""

import pytest

from monitor.messages.text import MOST_TEXT, cut, text_of
from tests.messages.conftest import BEGAN, alert, message


def test_one_alert_is_told_in_full():
    """It has title, reason, site, target and start."""
    assert text_of(message()).within(MOST_TEXT) == (
        "Firing: shop is down",
        (
            "status 503 is not in 2xx\n"
            "site: shop\n"
            "target: https://shop.example.com/\n"
            "since: 2026-09-21 14:13:20 UTC"
        ),
    )


def test_one_that_has_ended_says_how_long_it_was():
    """A resolved alert has its end and its duration."""
    title, body = text_of(message(alert(ended=BEGAN + 420))).within(MOST_TEXT)
    assert title == "Resolved: shop is down"
    assert body.splitlines()[-1] == "until: 2026-09-21 14:20:20 UTC (7m)"


def test_several_are_a_table():
    """Each alert has a row, in columns; the title counts them and names their group."""
    sent = message(alert(), alert("a-longer-name"), alert("blog", ended=BEGAN + 60))
    assert text_of(sent).within(MOST_TEXT) == (
        "Firing: 3 alerts (storefront), 1 of them resolved",
        (
            "Firing    2026-09-21 14:13:20 UTC  shop           status 503 is not in 2xx\n"
            "Firing    2026-09-21 14:13:20 UTC  a-longer-name  status 503 is not in 2xx\n"
            "Resolved  2026-09-21 14:13:20 UTC  blog           status 503 is not in 2xx"
        ),
    )


def test_very_many_stay_below_the_limit_and_are_counted():
    """The text has at most 4000 bytes of UTF-8 and counts the rest, even what the message omits."""
    sent = message(*(alert(f"sïte-{number}") for number in range(1000)), omitted=500)
    title, body = text_of(sent).within(MOST_TEXT)
    assert len(f"{title}\n{body}".encode()) <= MOST_TEXT
    *rows, rest = body.splitlines()
    assert title == "Firing: 1500 alerts (storefront)"
    assert rest == f"… and {1500 - len(rows)} more"
    assert len(rows) > 30


def test_a_receiver_that_takes_less_gets_less():
    """A short message of 160 bytes says what fits, even about a single alert."""
    for sent in (message(), message(*map(alert, "abcdefgh"))):
        for limit in (160, 60, 20):
            title, body = text_of(sent).within(limit)
            assert len(f"{title}\n{body}".encode()) <= limit
            assert title.startswith("Firing")


def test_what_a_site_says_stays_in_its_row():
    """Line breaks and control characters of an answer add no line."""
    noisy = alert(annotations={"summary": "a\nb", "description": "x\r\n\x1b[31mred\0" + "y" * 9000})
    for sent in (message(noisy), message(noisy, alert())):
        _, body = text_of(sent).within(MOST_TEXT)
        assert "\x1b" not in body
        assert "\0" not in body
        assert "x [31mred y" in body
        assert len(body) < 2000


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("@everyone", "@\u200beveryone"),
        ("<!here> (@HERE)", "<!here> (@\u200bHERE)"),
        ("@channel, @all: @room", "@\u200bchannel, @\u200ball: @\u200broom"),
        ("<@42> <@!42> <@&42>", "<@\u200b42> <@\u200b!42> <@\u200b&42>"),
        ("me@here.example @hereby @media 42", "me@here.example @hereby @media 42"),
    ],
)
def test_what_a_site_says_calls_nobody(said, told):
    """A server that answers with @everyone notifies no member of the channel."""
    noisy = alert(annotations={"summary": said, "description": f"header x {said}"})
    title, body = text_of(message(noisy)).within(MOST_TEXT)
    assert title == f"Firing: {told}"
    assert body.startswith(f"header x {told}\n")
    _, table = text_of(message(noisy, alert())).within(MOST_TEXT)
    assert f"header x {told}" in table


def test_a_cut_text_is_whole_characters():
    """No character is cut in two."""
    assert cut("ääää", 8) == "ääää"
    assert cut("ääääää", 8) == "ää…"
