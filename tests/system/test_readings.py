"""Values from answers and changes of content, from a page to Prometheus' text."""

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.waiting import until

API = json.dumps({"queue": {"depth": 42}, "ok": True, "version": "2.5-s3cr3t"}).encode()
PAGE = "<html><body><p>{now}</p><b id='price'>{price} €</b></body></html>"


class Shop(ThreadingHTTPServer):
    """An API, and a page whose price the test can change; the page is never the same twice."""

    count = 0
    price = 10


class Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self):
        self.server.count += 1
        kind, body = "application/json", API
        if self.path == "/page":
            text = PAGE.format(now=self.server.count, price=self.server.price)
            kind, body = "text/html; charset=iso-8859-15", text.encode("iso-8859-15")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Build", "b-2026.11")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def shop():
    server = Shop(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_values_and_changes(shop, start):
    """Values are series; a change is dated, fails once if the list says so, and is shown."""
    url = f"http://127.0.0.1:{shop.server_port}"
    daemon = start(
        f"""
defaults: {{interval: 300ms, timeout: 250ms}}
sites:
  - name: api
    url: {url}/api
    extract:
      queue_depth: {{json: $.queue.depth}}
      healthy: {{json: $.ok}}
      version: {{json: $.version, label: true}}
      build: {{header: x-build, matches: 'b-([\\d.]+)', label: true}}
      missing: {{json: $.queue.length}}
    http: {{headers: {{X-Token: "${{TOKEN}}"}}}}
  - {{name: quiet, url: "{url}/page", watch: {{content: sha256, css: "#price"}}}}
  - {{name: strict, url: "{url}/page", watch: {{content: sha256, css: "#price", fail: true}}}}
  - {{name: whole, url: "{url}/page", watch: {{content: sha256}}}}
""",
        TOKEN="s3cr3t",
    )
    until(
        lambda: all(daemon.site(name)["checks"] > 2 for name in ("api", "quiet", "strict")),
        "checks",
    )

    labels = f'{{site="api",target="{url}/api",group="",name='
    metrics = daemon.metrics()
    assert metrics[f'monitor_extracted_value{labels}"queue_depth"}}'] == 42
    assert metrics[f'monitor_extracted_value{labels}"healthy"}}'] == 1
    assert metrics[f'monitor_extracted_info{labels}"version",value="2.5-<secret>"}}'] == 1
    assert metrics[f'monitor_extracted_info{labels}"build",value="2026.11"}}'] == 1
    assert not [name for name in metrics if '"missing"' in name]
    last = daemon.site("api")["last"]
    assert last["extracted"]["queue_depth"] == 42
    assert last["extracted"]["missing"] is None
    assert last["not_extracted"] == {"missing": 'json $.queue.length: $.queue has no "length"'}
    assert "2.5-&lt;secret&gt;" in daemon.get("/sites/api")[1]

    before = {name: daemon.site(name) for name in ("quiet", "strict")}
    for site in before.values():
        assert (site["state"], site["content_changed"]) == ("up", None)
        assert site["content_sha256"] == site["last"]["content_sha256"]
    shop.price = 12
    until(lambda: daemon.site("strict")["content_changed"], "the change")
    until(lambda: daemon.site("quiet")["content_changed"], "the change")
    until(lambda: daemon.site("strict")["state"] == "up", "the new reference")
    strict, quiet = daemon.site("strict"), daemon.site("quiet")
    assert (quiet["check_failures"], strict["check_failures"]) == ({}, {"body": 1})
    old, new = before["strict"]["content_sha256"], strict["content_sha256"]
    (failure,) = strict["failures"]
    assert failure["message"] == f"content changed from {old[:12]} to {new[:12]} (SHA-256)"
    assert "12 €" in failure["excerpt"]
    assert "12 €" in daemon.get("/logs?site=strict")[1]
    assert new in daemon.get("/sites/strict")[1]
    shown = daemon.get("/metrics")[1]
    changed = re.findall(r'monitor_content_changed_timestamp_seconds{site="(\w+)"', shown)
    assert set(changed) == {"quiet", "strict", "whole"}
    assert "s3cr3t" not in shown + json.dumps(daemon.site("api")) + daemon.log.read_text()
    assert daemon.stop() == 0


def test_promtool_is_silent(shop, start, real):
    """Prometheus' linter finds no fault with the families of values."""
    url = f"http://127.0.0.1:{shop.server_port}"
    daemon = start(f"""
sites:
  - name: api
    url: {url}/page
    interval: 300ms
    timeout: 250ms
    extract: {{price: {{matches: '(\\d+) €'}}, build: {{header: x-build, label: true}}}}
    watch: {{content: sha256}}
""")
    until(lambda: daemon.site("api")["content_changed"], "a change")
    _, text = daemon.get("/metrics")
    assert 'name="price"} 10' in text
    command = [real("promtool"), "check", "metrics"]
    lint = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert lint.stdout + lint.stderr == ""
    assert daemon.stop() == 0
