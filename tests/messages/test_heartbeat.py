"""The heartbeat sends one request per interval while all is well, and none otherwise."""

from monitor.messages.receivers.heartbeat import Heartbeat
from monitor.notify import HeartbeatOptions
from monitor.probes.client import Client
from tests.fakes import FakeClock
from tests.probes.servers import answer
from tests.waiting import free_port


def heartbeat(url: str, clock: FakeClock, trouble: list[str]) -> Heartbeat:
    options = HeartbeatOptions(url=url, interval=60.0)
    return Heartbeat(options, Client(), clock, lambda: trouble[0] if trouble else None)


def test_it_beats_while_all_is_well(serve):
    """It GETs its URL, says why it does not, and continues once all is well again."""
    server = serve(answer())
    trouble: list[str] = []
    heart = heartbeat(server.url("/ping"), FakeClock(), trouble)
    assert heart.beat() is None
    assert server.requests[0].startswith(b"GET /ping HTTP/1.1\r\n")
    trouble.append("the main loop stands still")
    assert heart.beat() == "no heartbeat: the main loop stands still"
    assert len(server.requests) == 1
    trouble.clear()
    assert heart.beat() is None
    assert len(server.requests) == 2


def test_it_keeps_its_pace(serve):
    """Beats lie on a grid from the first one on; missed beats are not made up for."""
    clock = FakeClock()
    heart = heartbeat(serve(answer()).url(), clock, [])
    began = clock.now
    assert heart.next_at == began
    clock.advance(5)
    heart.beat()
    assert heart.next_at == began + 60
    clock.advance(200)
    heart.beat()
    assert heart.next_at == began + 240


def test_what_goes_wrong_is_said_without_the_url(serve):
    """A refused connection, an error and a redirect do not count; the URL is a secret."""
    other = serve(answer())
    moved = serve(answer(b"", "302 Found", [("Location", other.url())]))
    broken = serve(answer(b"", "500 Internal Server Error"))
    places = (f"http://127.0.0.1:{free_port()}", broken.url(""), moved.url(""))
    urls = [f"{place}/uuid-of-a-check" for place in places]
    said = [heartbeat(url, FakeClock(), []).beat() or "" for url in urls]
    assert "refused" in said[0]
    assert said[1:] == [
        "the heartbeat's URL answered with status 500",
        "the heartbeat's URL answered with status 302",
    ]
    assert not any("uuid-of-a-check" in one for one in said)
    assert other.requests == []
