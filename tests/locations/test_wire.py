"""Messages between places and hub: versions understand each other, and all input is checked."""

import json

import pytest

from monitor.locations import wire
from monitor.locations.wire import WireError, unpack_batch, unpack_beat, unpack_question
from monitor.places import Abstention, Sender, SignOfLife
from tests.locations.reports import NOW, report


def sent(*reports) -> bytes:
    return wire.pack_batch("2/5", "run-1", NOW, wire.pack_reports(map(wire.pack_report, reports)))


def test_reports_arrive_as_they_were_sent():
    """Every kind of report comes back equal, and the location is that of the subject."""
    said = tuple(report(word) for word in ("up", "down", "error", "connection", "unknown"))
    batch = unpack_batch(sent(*said), "fra", NOW + 1)
    assert batch.reports == said
    assert (batch.sender, batch.id, batch.sent) == (Sender("fra", "2/5"), "run-1", NOW)


def test_a_beat_and_a_question_arrive_as_they_were_sent():
    """No field of them is lost."""
    beat = SignOfLife(
        sender=Sender("fra", "2/5"),
        sent=NOW,
        version="0.2.0",
        fingerprint="abc",
        sites=7,
        waiting=3,
        dropped=1,
    )
    assert unpack_beat(wire.pack_beat(beat), "fra") == beat
    assert unpack_question(wire.pack_question(["shop", "ü/x"])) == ("shop", "ü/x")


def test_a_later_version_is_understood_as_long_as_it_only_adds():
    """Only unknown fields, columns, reasons and troubles are lost."""
    message = json.loads(sent(report("down")))
    message |= {"v": wire.VERSION + 1, "mood": "new"}
    row = message["reports"][0]
    row[4] = "a_new_reason"
    message["reports"] = [
        [*row, "a new column"],
        [*row[:3], None, None, "", "a new kind", *row[7:]],
    ]
    first, second = unpack_batch(json.dumps(message).encode(), "fra", NOW).reports
    assert (first.up, first.reason) == (False, None)
    assert second.trouble is Abstention.ERROR


def test_this_version_says_that_the_one_before_can_read_it():
    """No version precedes the first one, so it says that it can read itself."""
    assert json.loads(sent())["min"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"min": wire.VERSION + 1},
        {"min": None},
        {"min": True},
        {"reports": {}},
        {"reports": [1]},
        {"reports": [[]]},
        {"sent": "now"},
        {"sent": -1},
        {"part": 7},
        {"part": "x" * 41},
        {"id": None},
    ],
)
def test_what_is_not_understood_is_told(change):
    """It is an error of one kind, whatever is wrong."""
    message = json.loads(sent(report())) | change
    with pytest.raises(WireError):
        unpack_batch(json.dumps(message).encode(), "fra", NOW)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, 7),
        (0, "x" * 5000),
        (1, "soon"),
        (1, 1e300),
        (2, -1),
        (3, 1),
        (3, "yes"),
        (4, 7),
        (5, None),
        (6, 7),
        (7, "asleep"),
        (7, []),
        (8, None),
        (9, "then"),
    ],
)
def test_a_column_of_another_type_is_refused(column, value):
    """No unchecked value reaches the hub."""
    message = json.loads(sent(report()))
    message["reports"][0][column] = value
    with pytest.raises(WireError):
        unpack_batch(json.dumps(message).encode(), "fra", NOW)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"7", b"{", b"[" * 100_000, b"{}"])
def test_no_message_is_fatal(data):
    """Whatever message arrives, it is at most dropped."""
    for read in (lambda d: unpack_batch(d, "fra", NOW), lambda d: unpack_beat(d, "fra")):
        with pytest.raises(WireError):
            read(data)
    with pytest.raises(WireError):
        unpack_question(data)


def test_a_full_message_is_far_below_the_limit_of_the_server():
    """400 reports, each as long as one can be in practice, fit into 1 MiB."""
    row = wire.pack_report(report("down", site="n" * 200, message="ü" * 1000))
    assert len(wire.pack_batch("1/1", "x", NOW, wire.pack_reports([row] * 400))) < 2**20
