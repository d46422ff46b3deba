"""The apprise receiver runs one process per message, against real local servers."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope

from monitor.app.tables import TABLES
from monitor.config.load import load
from monitor.errors import ConfigError
from monitor.messages.receivers.apprise import AppriseSender, obstacle
from monitor.notify import ReceiverOptions
from tests.messages.conftest import alert, message, sender
from tests.probes.servers import Connection, answer, drip, read_request, stay_silent
from tests.waiting import PATIENCE, until

TIMEOUT = 30.0
"""Loading the library takes seconds where the machine is busy."""


def chat(url: str) -> ReceiverOptions:
    return ReceiverOptions(name="chat", apprise=url)


def test_json_is_delivered(serve):
    """Title, text and type arrive at a server that accepts them."""
    server = serve(answer())
    outcome = sender(chat(f"json://127.0.0.1:{server.port}/room")).send(message(), TIMEOUT)
    assert (outcome.delivered, outcome.detail) == (True, "apprise delivered it by json")
    got = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert got["title"] == "Firing: shop is down"
    assert got["message"].splitlines()[0] == "status 503 is not in 2xx"
    assert got["type"] == "failure"


@dataclass(frozen=True)
class Chat:
    """A service that apprise supports, and how its message is read."""

    url: str
    text: Callable[[dict[str, Any]], str]


CHATS = {
    "telegram": Chat("tgram://123456789:secret-token/42", lambda sent: unescape(sent["text"])),
    "discord": Chat(f"discord://1234567890/{'x' * 64}", lambda sent: sent["content"]),
    "slack": Chat(
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
        lambda sent: unescape("\n".join(sent["attachments"][0][key] for key in ("title", "text"))),
    ),
}


@pytest.mark.parametrize("service", CHATS)
def test_what_a_chat_takes_for_markup_arrives_as_text(service, serve, authority, monkeypatch):
    """Quotes, tags, entities and braces of a reason are shown unchanged and complete."""

    context = authority.context()

    def serve_chat(connection: Connection) -> None:
        connection.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection.sock, server_side=True) as connection.sock:
            read_request(connection)
            _, reply = answer(b"ok" if service == "slack" else b'{"ok": true}')
            assert isinstance(reply, bytes)
            connection.sock.sendall(reply)

    proxy = serve([read_request, serve_chat])
    monkeypatch.setenv("HTTPS_PROXY", proxy.url())
    chosen = CHATS[service]
    reason = 'body "<script>a &amp; b</script> {{title}} <b>" does not match "<title>"; C:\\new'
    told = message(alert(annotations={"summary": "a & <b> is down", "description": reason}))
    outcome = sender(chat(f"{chosen.url}?verify=no")).send(told, TIMEOUT)
    assert outcome.delivered, outcome.detail
    body = proxy.requests[-1].partition(b"\r\n\r\n")[2]
    text = chosen.text(json.loads(body))
    assert "Firing: a & <b> is down" in text
    assert reason in text
    assert "target: https://shop.example.com/" in text
    raw = json.dumps(json.loads(body), ensure_ascii=False)
    assert ("&lt;script&gt;a &amp;amp; b" in raw) == (service != "discord")


@pytest.mark.parametrize("forced", ["", "?redirect=yes"])
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found"])
def test_a_redirect_is_no_delivery(serve, status, forced):
    """Apprise would follow it with a GET that has no body, and call that a success."""
    other = serve(answer())
    server = serve(answer(b"", status, [("Location", other.url())]))
    url = f"json://127.0.0.1:{server.port}/{forced}"
    outcome = sender(chat(url)).send(message(), TIMEOUT)
    assert not outcome.delivered
    assert (len(server.requests), other.requests) == (1, [])


def test_a_server_that_drips_ends_at_the_timeout(serve):
    """The whole process has the receiver's timeout, whatever the library waits for."""
    server = serve([read_request, drip(b"HTTP/1.1 200 OK\r\nX: ", 0.1)])
    outcome = sender(chat(f"json://127.0.0.1:{server.port}/")).send(message(), 2)
    assert not outcome.delivered
    assert outcome.detail == "apprise was cut off, or took longer than 2s"


def test_no_secret_shows(serve):
    """User, password, tokens and the URL itself are masked in apprise's output."""
    server = serve(answer(b"no", "403 Forbidden"))
    url = f"json://robot:pass-word@127.0.0.1:{server.port}/T0K3N-in-path/?+X-Api=header-secret"
    outcome = sender(chat(url)).send(message(), TIMEOUT)
    assert "error=403" in outcome.detail
    for secret in (url, "robot", "pass-word", "T0K3N-in-path", "header-secret"):
        assert secret not in outcome.detail


class Inbox:
    """The messages that an SMTP server accepts."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_DATA(self, _server, _session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def mail_server() -> Iterator[tuple[Inbox, int]]:
    """Return an SMTP server's inbox and port."""
    inbox, loop = Inbox(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = loop.create_server(lambda: SMTP(inbox, loop=loop), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result(PATIENCE)
    yield inbox, server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_mail_is_delivered(mail_server):
    """A real SMTP server gets one message with subject and text."""
    inbox, port = mail_server
    url = f"mailto://127.0.0.1:{port}?from=monitor@a.example&to=ops@a.example&mode=insecure"
    outcome = sender(chat(url)).send(message(alert(), alert("blog")), TIMEOUT)
    assert outcome.delivered, outcome.detail
    (mail,) = inbox.mails
    assert mail.rcpt_tos == ["ops@a.example"]
    assert b"Firing: 2 alerts (storefront)" in mail.content


def test_a_stop_ends_the_process_at_once(serve):
    """A message that hangs does not delay the daemon's stop; its process ends before the daemon."""
    server = serve([read_request, stay_silent])
    receiver = AppriseSender(f"json://127.0.0.1:{server.port}/")
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(receiver.send(message(), 300)))
    thread.start()
    until(lambda: server.requests)
    running = receiver._process._running
    assert running
    assert Path(f"/proc/{running.pid}/oom_score_adj").read_text() == "1000\n"
    receiver.close()
    thread.join(60)
    assert [one.delivered for one in outcomes] == [False]
    assert receiver.send(message(), TIMEOUT).detail == "the monitor is stopping"


def test_what_apprise_cannot_use_is_said_without_secrets():
    """An unknown service and a URL without its token are reported when the list is read."""
    assert obstacle("json://localhost/x") is None
    for url in ("nonsense://sec-ret-token/", "slack://sec-ret-token"):
        said = obstacle(url) or ""
        assert said.startswith("apprise cannot use this URL")
        assert "sec-ret-token" not in said


def test_validate_has_apprise_read_the_url(tmp_path):
    """A mistake in the URL is reported with its place, like any other, and without its tokens."""
    path = tmp_path / "sites.yaml"
    path.write_text(
        "notify:\n  receivers:\n    - {name: chat, apprise: 'slack://sec-ret-token'}\n"
        "sites: [https://a.example]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, TABLES, {})
    text = str(caught.value)
    assert "sites.yaml:3:29: notify.receivers[0].apprise: apprise cannot use this URL: " in text
    assert "sec-ret" not in text


def test_without_apprise_its_receivers_are_a_mistake(tmp_path, monkeypatch):
    """One sentence says which package is missing and how to install it."""
    monkeypatch.setattr("monitor.notify.find_spec", lambda _: None)
    path = tmp_path / "sites.yaml"
    path.write_text(
        "notify: {receivers: [{name: chat, apprise: 'json://a.example'}]}\nsites: [https://a.example]\n"
    )
    with pytest.raises(ConfigError, match="apprise needs an extra package; install it by: pip"):
        load(path, TABLES, {})
