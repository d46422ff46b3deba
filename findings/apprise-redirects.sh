#!/usr/bin/env bash
# What apprise makes of a service that answers a message with a redirect.
#
# Expected: a message is delivered once a server has taken it; a redirect is followed with the
#   message, or is a failure.
# What happens: after 301, 302 and 303 the new address is asked by GET, without the message, and any
#   page there that answers 200 makes notify() return True. Only after 307 and 308 the message goes
#   along. With AppriseAsset(http_redirects=False) a redirect is a failure.
# Why a monitor cares: where a chat's server begins to redirect from http to https, or to a log-in
#   page, no message arrives any more, and each of them counts as sent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q apprise==2.3.0 requests==2.34.2
cat >"$folder/send.py" <<'PYTHON'
import http.server
import logging
import threading

import apprise

logging.getLogger("apprise").setLevel(logging.CRITICAL)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/new"):
            self.send_response(200)
            seen.append(f"{self.command} {'with' if body else 'without'} the message")
        else:
            self.send_response(int(self.path.strip("/")))
            self.send_header("Location", "/new")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever).start()
    for follows in (True, False):
        for status in (301, 302, 303, 307, 308):
            seen = []
            sender = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=follows))
            sender.add(f"json://127.0.0.1:{server.server_port}/{status}")
            sent = bool(sender.notify(title="down", body="shop is down"))
            there = ", ".join(seen) or "nothing"
            print(f"http_redirects={follows} {status}: {there} at the new address, sent: {sent}")
    server.shutdown()
PYTHON
"$folder/venv/bin/python" -c 'import apprise; print("apprise", apprise.__version__)'
"$folder/venv/bin/python" "$folder/send.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
http_redirects=True 301: GET without the message at the new address, sent: True
http_redirects=True 302: GET without the message at the new address, sent: True
http_redirects=True 303: GET without the message at the new address, sent: True
http_redirects=True 307: POST with the message at the new address, sent: True
http_redirects=True 308: POST with the message at the new address, sent: True
http_redirects=False 301: nothing at the new address, sent: False
http_redirects=False 302: nothing at the new address, sent: False
http_redirects=False 303: nothing at the new address, sent: False
http_redirects=False 307: nothing at the new address, sent: False
http_redirects=False 308: nothing at the new address, sent: False
TEXT
