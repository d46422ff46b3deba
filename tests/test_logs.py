"""The form of a log line, what happens to very many, and that nobody waits for their reader."""

import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from array import array
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl, ioctl
from http.client import HTTPConnection
from pathlib import Path
from termios import FIONREAD

import pytest

from monitor.logs import (
    Background,
    Floods,
    JsonFormatter,
    Secrets,
    TextFormatter,
    collecting,
    fields,
    relay,
)
from tests.waiting import PATIENCE, until

SECRETS = ('quo"ted', "back\\slash", "two\nlines", "plain-one", "München")


@pytest.mark.parametrize("form", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_in_a_line(form, secret):
    """No secret is in the event, a field or the traceback, whatever characters it contains."""
    secrets = Secrets()
    secrets.values = SECRETS
    said = record(detail=f"a {secret} b", path=Odd(secret))
    said.msg = f"event {secret}"
    said.exc_info = (ValueError, ValueError(f"sent {secret} twice"), None)
    line = form(secrets).format(said)
    assert secret not in line
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in line
    assert line.count("<secret>") == 4


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_in_a_line_from_another_process(secret, caplog):
    """A line from another process is masked like any other line that is logged here."""
    with collecting() as records:
        try:
            fail(f"sent {secret}")
        except ValueError:
            logging.getLogger("worker").exception("a %s", secret, extra=fields(detail=secret))
    caplog.clear()
    relay(pickle.loads(pickle.dumps(records)))  # noqa: S301  the program wrote it itself
    (relayed,) = caplog.records
    secrets = Secrets()
    secrets.values = SECRETS
    line = TextFormatter(secrets).format(relayed)
    assert secret not in line
    assert line.count("<secret>") == 3
    assert "in fail\n" in line


def test_another_process_logs_no_more_than_we_do(caplog):
    """A relayed line needs the level that is logged here."""
    logging.getLogger("quiet").setLevel(logging.ERROR)
    made = {"name": "quiet", "levelno": logging.WARNING, "msg": "a warning"}
    relay([logging.makeLogRecord(made)])
    relay([logging.makeLogRecord({**made, "levelno": logging.ERROR})])
    assert [one.levelno for one in caplog.records] == [logging.ERROR]


def fail(why: str) -> None:
    raise ValueError(why)


class Odd:
    """An object that is not text, but can be shown as text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def record(**values) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "site_down", "levelname": "WARNING", "created": 0.25})
    made.__dict__.update(fields(**values))
    return made


def test_a_text_line():
    """A line has time, level, event, then fields; ambiguous values are quoted, None is left out."""
    line = TextFormatter(Secrets()).format(
        record(site="shop", detail='status "503"', seconds=1.5, drained=False, before=None)
    )
    assert line == (
        "1970-01-01T00:00:00.250Z WARNING site_down "
        r'site=shop detail="status \"503\"" seconds=1.5 drained=False'
    )


def test_a_json_line():
    """A line is one JSON object, whose numbers and truth values keep their types."""
    line = JsonFormatter(Secrets()).format(
        record(site="shop", detail="5 €", seconds=1.5, drained=False, before=None)
    )
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "WARNING",
        "event": "site_down",
        "site": "shop",
        "detail": "5 €",
        "seconds": 1.5,
        "drained": False,
    }


# ---------------------------------------------------------------- very many lines


def about(site, event="site_down", level=logging.WARNING, **values) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": event, "levelno": level, "created": 0.25})
    made.__dict__.update(fields(site=site, **values))
    return made


def said(lines) -> list[str]:
    formatter = TextFormatter(Secrets())
    return [formatter.format(line).partition(" ")[2] for line in lines]


def test_an_outage_is_a_few_lines():
    """9,000 sites that go down at once give 20 lines, and a summary by reason after a second."""
    floods = Floods()
    lines = [
        one
        for number in range(9000)
        for reason in ["connect_timeout" if number % 9 else "dns_timeout"]
        for one in floods.take(about(f"s{number}", reason=reason), now=5.0)
    ]
    assert [one.__dict__["fields"]["site"] for one in lines] == [
        f"s{number}" for number in range(20)
    ]

    assert floods.next_due() == 6.0
    assert floods.tick(5.9) == []
    assert said(floods.tick(6.0)) == [
        "WARNING site_down_more count=8980 reasons=connect_timeout:7983,dns_timeout:997"
    ]
    assert floods.next_due() is None


def test_an_outage_that_goes_on():
    """A long flood gives a summary every ten seconds, and single lines again once it is over."""
    floods = Floods()

    def take(now):
        return [one for one in floods.take(about("x"), now) if one.msg == "site_down_more"]

    for _ in range(100):
        assert take(0.0) == []
    summaries = [(now, one.fields["count"]) for now in range(1, 40) for one in take(float(now))]
    assert summaries == [(1, 80), (11, 10)]

    for _ in range(100):
        floods.take(about("x"), now=100.0)
    for now in range(100, 124):
        for _ in range(3):
            summaries += [(now, one.fields["count"]) for one in take(float(now))]
    assert summaries[2:] == [(101, 83), (111, 30), (121, 30)]

    assert said(floods.tick(131.0)) == ["WARNING site_down_more count=9"]
    line = about("y")
    assert floods.take(line, now=131.0) == [line]


def test_few_lines_are_all_written():
    """Twenty lines a second of one event are not a flood, and each event is counted separately."""
    floods = Floods()
    for second in range(3):
        for number in range(20):
            for event in ("site_down", "site_up"):
                line = about(f"s{number}", event=event)
                assert floods.take(line, now=float(second)) == [line]
    assert floods.end() == []


def test_what_is_never_summarised():
    """Lines that are not about a site, and checks at debug level, are never summarised."""
    floods = Floods()
    for _ in range(100):
        for line in (record(problem="x"), about("shop", level=logging.DEBUG)):
            assert floods.take(line, now=0.0) == [line]


def test_the_end_tells_the_rest():
    """The end logs what was counted; events without a reason get only their number."""
    floods = Floods()
    for number in range(25):
        floods.take(about(f"s{number}", event="site_up", level=logging.INFO), now=0.0)
    assert said(floods.end()) == ["INFO site_up_more count=5"]


# ---------------------------------------------------------------- in the background


class Pipe:
    """A pipe that nobody reads until the test says so."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl(writer, F_SETPIPE_SZ, 4096)
        self.stream = os.fdopen(writer, "w", encoding="utf-8")
        self.dropped = 0

    def handler(self, secrets=None, most_waiting=100) -> Background:
        formatter = TextFormatter(secrets or Secrets())
        return Background(formatter, self.stream, self.drop, most_waiting)

    def drop(self) -> None:
        self.dropped += 1

    def fill(self) -> None:
        os.set_blocking(self.stream.fileno(), False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.stream.fileno(), b"x" * 4096)
        os.set_blocking(self.stream.fileno(), True)

    def read(self, until: str) -> str:
        """Return everything up to this text, without the bytes that filled the pipe."""
        found = ""
        while until not in found:
            found += os.read(self.reader, 65536).decode()
        return found.lstrip("x")

    def close(self) -> None:
        self.stream.close()
        with suppress(OSError):
            os.close(self.reader)


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


def test_nobody_waits_for_a_reader(pipe):
    """If nobody reads, a fixed number of lines is kept, and the number dropped is logged later."""
    handler = pipe.handler(most_waiting=3)
    pipe.fill()
    handler.handle(record(number=0))
    until(handler._queue.empty)  # the thread has taken it
    for number in range(1, 10):
        handler.handle(record(number=number))
    assert pipe.dropped == 6

    text = pipe.read(until="number=3\n")
    handler.close()
    found = [line.partition(" ")[2] for line in text.splitlines()]
    assert found.count("WARNING log_lines_dropped count=6") == 1
    assert [line for line in found if "number" in line] == [
        f"WARNING site_down number={number}" for number in range(4)
    ]


def test_lines_are_masked_as_of_when_they_were_logged(pipe):
    """A secret is masked even if it is not one any more when its line is written."""
    secrets = Secrets()
    secrets.values = ("old-secret",)
    handler = pipe.handler(secrets)
    pipe.fill()
    for _ in range(3):
        handler.handle(record(detail="with old-secret"))
    secrets.values = ("new-secret",)
    handler.handle(record(detail="the end"))

    found = pipe.read(until="the end")
    handler.close()
    assert found.count('detail="with <secret>"') == 3


def test_a_flood_is_told_by_itself(pipe):
    """The summary comes when its second is over, whether or not more lines follow."""
    handler = pipe.handler()
    for number in range(30):
        handler.handle(about(f"s{number}", reason="body"))
    found = pipe.read(until="more")
    handler.close()
    assert found.count("site_down ") == 20
    assert "site_down_more count=10 reasons=body:10" in found


def test_the_end_does_not_wait_for_ever(pipe):
    """A reader that does not read cannot keep the process from ending."""
    handler = pipe.handler()
    pipe.fill()
    handler.handle(record())
    started = time.monotonic()
    handler.close()
    assert time.monotonic() - started < PATIENCE / 2
    pipe.read(until="site_down")  # lets the thread go


def test_a_reader_that_is_gone(pipe):
    """If the reader is gone, the lines are counted as dropped, and nothing else happens."""
    handler = pipe.handler()
    os.close(pipe.reader)
    for _ in range(5):
        handler.handle(record())
    handler.close()
    assert pipe.dropped == 5


def test_a_line_that_cannot_be_made(pipe):
    """A line that cannot be made is dropped and counted, and the next one is written."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    handler = pipe.handler()
    handler.handle(record(detail=Broken()))
    handler.handle(record(detail="fine"))
    handler.close()
    assert "detail=fine" in pipe.read(until="\n")
    assert pipe.dropped == 1


@pytest.mark.parametrize("end", ["sys.exit()", "logging.shutdown(); os._exit(0)"])
def test_no_line_is_lost_on_the_way(end):
    """All lines arrive in order: those before the thread, and those just before the end."""
    program = f"""
import logging, os, sys
from monitor.logs import Secrets, configure, write_in_background
configure("info", "text", Secrets())
log = logging.getLogger("x")
log.info("before")
write_in_background(lambda: None)
for number in range(1000):
    log.info("line %d", number)
{end}
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True)
    found = [line.split(maxsplit=2)[2] for line in done.stderr.decode().splitlines()]
    assert found == ["before", *(f"line {number}" for number in range(1000))]


class UnixConnection(HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.host)


def checks(path) -> float:
    connection = UnixConnection(str(path))
    try:
        connection.request("GET", "/metrics", headers={"Host": "x"})
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("monitor_checks_total")
    )


def test_the_daemon_checks_on_while_nobody_reads_its_log(tmp_path, monkeypatch):
    """With standard error full, checks, the web server and the stop work as usual."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    names = [f"s{number}" for number in range(10)]
    sites = [
        f"{{name: {name}, url: 'tcp://127.0.0.1:{port}', interval: 200ms, timeout: 100ms}}"
        for name in names
    ]
    Path("sites.yaml").write_text(f"sites: [{', '.join(sites)}]\n")
    command = [*(sys.executable, "-m", "monitor", "run"), "--config", "sites.yaml"]
    options = ["--listen", "unix:web.sock", "--log-level", "debug"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        try:
            reader = daemon.stderr.fileno()
            fcntl(reader, F_SETPIPE_SZ, 4096)
            waiting = array("i", [0])

            def full() -> bool:
                ioctl(reader, FIONREAD, waiting)
                return bool(waiting[0] > 3800)

            until(full)
            before = checks("web.sock")
            until(lambda: checks("web.sock") > before + 50)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(PATIENCE) == 0
            text = os.read(reader, 65536).decode()
        finally:
            daemon.kill()
    assert " DEBUG checked site=s" in text
    assert "up=False reason=connect_refused duration=0.0" in text
