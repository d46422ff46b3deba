"""Messages from the daemon to real receivers: an Alertmanager, a webhook, apprise's JSON."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.probes.servers import ScriptedServer, Step, answer
from tests.system.processes import Alertmanager, fetch
from tests.waiting import until

SIGNING_KEY = "the-key-of-the-signature"
TOKENS = (SIGNING_KEY, "path-t0ken-of-hook", "query-t0ken", "bearer-t0ken", "t0ken-of-the-chat")


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(script: Sequence[Step] | Callable[[int], Sequence[Step]]) -> ScriptedServer:
        servers.append(ScriptedServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def told(server: ScriptedServer) -> list[str]:
    """Return the states that a webhook received, in order, including failed attempts."""
    bodies = [json.loads(one.partition(b"\r\n\r\n")[2]) for one in server.requests]
    return [body.get("status") or body["type"] for body in bodies]


def test_each_kind_is_told_of_an_outage_and_of_its_end(start, moody, serve, real, tmp_path):
    """
    An Alertmanager, a webhook that fails at first, and a chat hear both; no secret shows anywhere.

    The webhook's errors quote all that it knows, and its first message keeps its key.
    """
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: all}\nreceivers: [{name: all}]\n")
    manager = Alertmanager(real("prometheus-alertmanager"), tmp_path, config)
    refusal = answer(" ".join(TOKENS).encode(), "403 Forbidden")
    moods = deque([refusal, answer(b"", "503 Service Unavailable", [("Retry-After", "0")])])
    hook = serve(lambda _: moods.popleft() if moods else answer())
    chat = serve(answer())
    moody.mood = "sick"
    try:
        until(lambda: manager.alerts() == [], "Alertmanager")
        daemon = start(
            f"""
notify:
  group_wait: 100ms
  group_interval: 200ms
  receivers:
    - {{name: am, alertmanager: ["http://127.0.0.1:{manager.port}"], labels: {{job: monitor}}}}
    - name: oncall
      webhook: {{url: "{hook.url("/path-t0ken-of-hook?key=query-t0ken")}", secret: {SIGNING_KEY}}}
      bearer_token: bearer-t0ken
    - {{name: chat, apprise: "json://user:t0ken-of-the-chat@127.0.0.1:{chat.port}/", timeout: 1m}}
defaults: {{interval: 200ms}}
sites:
  - {{name: shop, url: "{moody.url}", group: web, labels: {{team: a}}}}
"""
        )
        (alert,) = until(manager.alerts, "the alert")
        assert alert["labels"] == {
            "alertname": "SiteDown",
            "severity": "critical",
            "site": "shop",
            "target": moody.url,
            "group": "web",
            "team": "a",
            "job": "monitor",
        }
        assert alert["annotations"]["summary"] == "shop is down"
        until(lambda: len(hook.requests) == 3, "the webhook's third attempt")
        until(lambda: chat.requests, "the chat")
        keys = {one.partition(b"Idempotency-Key: ")[2].split(b"\r\n")[0] for one in hook.requests}
        assert len(keys) == 1
        moody.mood = "well"
        until(lambda: manager.alerts() == [], "the alert's end")
        until(lambda: told(hook)[-1] == "resolved", "the webhook's end")
        until(lambda: told(chat)[-1] == "success", "the chat's end")
        assert told(hook) == ["firing", "firing", "firing", "resolved"]
        assert told(chat) == ["failure", "success"]
        pages = ("/", "/config", "/metrics", "/api/v1/sites", "/sites/shop", "/api/v1/receivers")
        shown = [fetch(daemon.url + page)[1] for page in pages]
        assert daemon.stop() == 0
    finally:
        manager.stop()
    shown.append(daemon.log.read_text())
    assert "answered with status 403: " in shown[-1]
    for text in shown:
        assert [one for one in TOKENS if one in text] == []
