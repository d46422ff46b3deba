"""A server's list in the form of Prometheus' http_sd, over loopback."""

import gzip
import time

import pytest

from monitor.sources.http import open_source
from monitor.sources.options import HttpSourceOptions
from monitor.sources.ports import UnreadableError
from tests.sources.world import WORLD, peer, says, source, urls
from tests.waiting import PATIENCE, free_port

LIST = b'[{"targets": ["https://a", "https://b"], "labels": {"team": "x"}}]'


def reader_of(url, **options):
    return open_source(source("http", HttpSourceOptions(url=url, **options)), WORLD)


def test_it_is_asked_as_prometheus_asks():
    """Requests have the refresh header, the configured headers and the last list's ETag."""
    with peer(says(LIST, ETag='"one"')) as server:
        reader = reader_of(server.url, refresh=90.0, headers={"Authorization": "Bearer x"})
        look = reader.look()
        assert urls(look) == ["https://a", "https://b"]
        assert look.parts[""][0].keys["labels"] == {"source": "http", "team": "x"}
        server.answer = says(b"", status=304)
        assert reader.look() is None
        server.answer = says(b"[]")
        assert reader.look().parts == {"": ()}
        assert reader.look().parts == {"": ()}
        reader.close()
    first, second, third, fourth = server.asked
    assert first["X-Prometheus-Refresh-Interval-Seconds"] == "90"
    assert first["Authorization"] == "Bearer x"
    assert "If-None-Match" not in first
    assert second["If-None-Match"] == third["If-None-Match"] == '"one"'
    assert "If-None-Match" not in fourth  # the last list had no tag


def drip(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        handler.wfile.write(b" ")
        time.sleep(0.02)


def endless(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(1024**3))
    handler.end_headers()
    for _ in range(1024):
        handler.wfile.write(b" " * 1024**2)


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"[]")


BAD = [
    (says(b"", status=500), "answers with status 500"),
    (says(b"", status=302, Location="http://127.0.0.1:1/"), "answers with status 302"),
    (says(b"<html>", kind="text/html"), "must have the Content-Type application/json"),
    (says(b"{}"), "must be a list of groups"),
    (says(b"[" * 100_000), "is nested too deeply"),
    (says(LIST[:30]), "is not JSON: line 1"),
    (says(gzip.compress(LIST), Content_Encoding="gzip"), "packs its answer"),
    (drip, "did not end in time"),
    (endless, "is larger than 16MiB"),
    (cut, "broke off"),
]


@pytest.mark.parametrize(("answer", "why"), BAD, ids=[why for _, why in BAD])
def test_a_bad_answer_is_told(answer, why):
    """A 1 GB body is not read to its end, nor a slow one awaited; no login or query is shown."""
    with peer(answer) as server:
        url = server.url.replace("//", "//user:hunter22@") + "/list?token=hunter22"
        reader = reader_of(url, timeout=1.0)
        with pytest.raises(UnreadableError) as caught:
            reader.look()
        reader.close()
    assert why in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "/list" in str(caught.value)


def test_nobody_listens():
    """The error ends with the system's own words."""
    reader = reader_of(f"http://127.0.0.1:{free_port()}/x?token=hunter22")
    with pytest.raises(UnreadableError, match=r"/x cannot be read: connection refused$"):
        reader.look()
    reader.close()


def test_a_url_is_asked_for_as_sites_are():
    """A token may stand alone before the @, and a lone % leaves other escapes as they are."""
    paths = []

    def listing(handler):
        paths.append(handler.path)
        says(LIST)(handler)

    with peer(listing) as server:
        url = server.url.replace("//", "//tok%C3%A9n@") + "/list?off=100%&q=a%20b"
        reader = reader_of(url)
        assert urls(reader.look()) == ["https://a", "https://b"]
        reader.close()
    assert server.asked[0]["Authorization"] == "Basic dG9rw6luOg=="
    assert paths == ["/list?off=100%25&q=a%20b"]
