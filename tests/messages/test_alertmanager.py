"""The Alertmanager receiver, against scripted servers and Debian's own Alertmanager."""

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.clock import SystemClock
from monitor.messages.notification import fingerprint_of
from monitor.messages.receivers import build_senders
from monitor.messages.receivers.alertmanager import RESEND
from monitor.notify import ReceiverOptions
from monitor.probes.client import Client
from tests.fakes import FakeClock
from tests.messages.conftest import BEGAN, alert, message, sender
from tests.probes.servers import Step, answer, read_request
from tests.system.processes import Alertmanager
from tests.waiting import free_port, until


def alertmanager(*urls: str, **values) -> ReceiverOptions:
    return ReceiverOptions(name="am", alertmanager=urls, **values)


def bodies(requests: list[bytes]) -> list[list[dict[str, Any]]]:
    return [json.loads(one.partition(b"\r\n\r\n")[2]) for one in requests]


def sites(body: list[dict[str, Any]]) -> list[str]:
    return [one["labels"]["site"] for one in body]


def picky(good: str, bad: str, status: str) -> list[Step]:
    """Return the script of a server that refuses each batch that contains the bad site."""

    def reply(connection) -> None:
        refused = bad in sites(bodies(connection.server.requests[-1:])[0])
        text = b'{"code":400,"message":"bad label"}' if refused else b""
        line = status if refused else good
        head = f"HTTP/1.1 {line}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        connection.sock.sendall(head.encode() + text)

    return [read_request, reply]


def test_an_alert_has_both_times_and_the_receivers_labels(serve):
    """A firing alert ends 5 minutes ahead, a resolved one when it ended; it has no empty labels."""
    server = serve(answer(b""))
    clock = FakeClock()
    options = alertmanager(server.url("/am"), labels={"job": "monitor", "instance": "a:1"})
    shop = alert(labels={**alert().labels, "group": ""})
    outcome = sender(options, clock).send(message(shop, alert("blog", ended=BEGAN + 5)), 5)
    assert outcome.delivered
    assert server.requests[0].startswith(b"POST /am/api/v2/alerts HTTP/1.1\r\n")
    ((firing, resolved),) = bodies(server.requests)
    assert firing["labels"] == {
        "alertname": "SiteDown",
        "severity": "critical",
        "site": "shop",
        "target": "https://shop.example.com/",
        "job": "monitor",
        "instance": "a:1",
    }
    assert firing["startsAt"] == "2026-09-21T14:13:20.000Z"
    assert firing["endsAt"] == "2027-01-15T08:05:00.000Z"  # FakeClock's 08:00 and 5 minutes
    assert resolved["endsAt"] == "2026-09-21T14:13:25.000Z"


def test_an_alert_never_starts_in_the_future(serve):
    """Alertmanager would refuse it, so after the clock was set back the alert starts now."""
    server = serve(answer(b""))
    clock = FakeClock()
    ahead = alert(starts_at=clock.time() + 60)
    sender(alertmanager(server.url()), clock).send(message(ahead), 5)
    assert bodies(server.requests)[0][0]["startsAt"] == "2027-01-15T08:00:00.000Z"


def test_what_stands_is_told_again(serve):
    """A firing alert is sent each minute until it is resolved, then resolved for 5 minutes."""
    server = serve(answer(b""))
    clock = FakeClock()
    receiver = sender(alertmanager(server.url()), clock)
    assert receiver.next_refresh() is None
    receiver.send(message(alert(), alert("blog")), 5)
    assert receiver.next_refresh() == clock.now + RESEND
    clock.advance(RESEND)
    receiver.refresh(5)
    receiver.send(message(alert(ended=BEGAN + 9)), 5)
    for _ in range(6):
        clock.advance(RESEND)
        receiver.refresh(5)
    told = [sites(body) for body in bodies(server.requests)]
    assert told[:3] == [["shop", "blog"], ["shop", "blog"], ["shop"]]
    assert told[3:] == [["shop", "blog"]] * 4 + [["blog"]] * 2


def test_a_refresh_that_fails_comes_again_soon():
    """An instance that was away gets the firing alerts long before other alerts would end."""
    clock = FakeClock()
    receiver = sender(alertmanager(f"http://127.0.0.1:{free_port()}"), clock)
    assert not receiver.send(message(), 5).delivered
    clock.advance(RESEND)
    assert not receiver.refresh(5).delivered
    assert (receiver.next_refresh() or 0) - clock.now < RESEND


def test_after_a_restart_what_stood_stands_again(serve):
    """Alerts that the receiver was sent before are sent again at once, without a new message."""
    server = serve(answer(b""))
    clock = FakeClock()
    receiver = sender(alertmanager(server.url()), clock)
    receiver.restore([alert()])
    assert receiver.next_refresh() == clock.now
    assert receiver.refresh(5).delivered
    assert sites(bodies(server.requests)[0]) == ["shop"]


def test_an_old_message_does_not_bring_back_what_is_over(serve):
    """A firing alert that is sent after its end says that it has ended."""
    server = serve(answer(b""))
    receiver = sender(alertmanager(server.url()), FakeClock())
    receiver.send(message(alert(ended=BEGAN + 5)), 5)
    receiver.send(message(alert()), 5)
    assert {body[0]["endsAt"] for body in bodies(server.requests)} == {"2026-09-21T14:13:25.000Z"}


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Content"])
def test_one_bad_alert_does_not_keep_the_others_back(serve, status):
    """The bad one is found and dropped; each of the others is accepted and kept firing."""
    server = serve(picky("200 OK", "s5", status))
    clock = FakeClock()
    receiver = sender(alertmanager(server.url()), clock)
    outcome = receiver.send(message(*(alert(f"s{number}") for number in range(8))), 5)
    assert (outcome.delivered, outcome.lasting) == (False, True)
    assert outcome.detail.startswith("1 of 8 alerts were refused; the first: 127.0.0.1:")
    assert "bad label" in outcome.detail
    taken = [
        one for body in map(sites, bodies(server.requests)) if "s5" not in body for one in body
    ]
    assert sorted(taken) == ["s0", "s1", "s2", "s3", "s4", "s6", "s7"]
    clock.advance(RESEND)
    assert receiver.refresh(5).delivered


def test_ten_thousand_alerts_go_in_ten_requests(serve):
    """A data centre that is cut off is one message, in parts that a server accepts."""
    server = serve(answer(b""))
    down = [alert(f"s{number}") for number in range(10_000)]
    assert sender(alertmanager(server.url())).send(message(*down), 60).delivered
    assert [len(body) for body in bodies(server.requests)] == [1000] * 10


def test_each_instance_is_a_channel_of_its_own(serve):
    """One that is away does not affect the other; channels are named by receiver and address."""
    server = serve(answer(b""))
    gone = f"http://127.0.0.1:{free_port()}"
    senders = build_senders(alertmanager(server.url("/a/"), gone), Client(), SystemClock())
    assert list(senders) == [f"am/127.0.0.1:{server.port}/a", f"am/{gone.removeprefix('http://')}"]
    outcomes = [one.send(message(), 5).delivered for one in senders.values()]
    assert outcomes == [True, False]


# ---------------------------------------------------------------- the real one


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "alertmanager.yml"
    route = {"receiver": "all", "group_by": ["group"], "group_wait": "1s", "group_interval": "1s"}
    path.write_text(yaml.safe_dump({"route": route, "receivers": [{"name": "all"}]}))
    return path


def groups(port: int) -> list[dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/api/v2/alerts/groups")
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found


@pytest.mark.real
def test_a_real_alertmanager_gets_groups_restarts_and_resolves(real, tmp_path, config):
    """
    It has each alert once, in its groups, under our fingerprint, again after a loss, then none.
    """
    program = real("prometheus-alertmanager")
    server = Alertmanager(program, tmp_path, config)
    try:
        receiver = sender(alertmanager(f"http://127.0.0.1:{server.port}"))
        now = time.time()
        labels = [{**alert(site).labels, "team": "wëb"} for site in ("shop", "blog")]
        labels[1]["group"] = "press"
        firing = [
            alert(labels=one, fingerprint=fingerprint_of(one), starts_at=now - 60) for one in labels
        ]
        until(lambda: receiver.send(message(*firing), 30).delivered, "Alertmanager")
        found = until(server.alerts, "the alerts")
        assert {one["fingerprint"] for one in found} == {one.fingerprint for one in firing}
        expected = [{"group": "press"}, {"group": "storefront"}]  # each arrives at its own time
        until(
            lambda: [one["labels"] for one in groups(server.port)] == expected,
            "the groups",
        )
        server.process.kill()
        server.process.wait()
        server.start()
        until(lambda: server.alerts() == [], "an Alertmanager that knows nothing")
        assert receiver.refresh(30).delivered
        assert len(server.alerts()) == 2
        over = [alert(labels=one, fingerprint=fingerprint_of(one), ended=now) for one in labels]
        assert receiver.send(message(*over), 30).delivered
        until(lambda: server.alerts() == [], "the alerts' end")
    finally:
        server.stop()
