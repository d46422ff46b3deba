#!/usr/bin/env bash
# What requests makes of a PUT or PATCH that is answered with 301.
#
# Expected: the method and its body stay together: either both are kept, as by browsers and curl, or
#   the method becomes GET and the body goes, as Go does it and requests itself after 302.
# What happens: the method is kept and the body is dropped, so an empty PUT goes to the new address.
# Why a monitor cares: a check that writes what it sends would empty what is there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q requests==2.34.2
cat >"$folder/ask.py" <<'PYTHON'
import http.server
import threading

import requests


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/new":
            self.send_response(int(self.path[1:]))
            self.send_header("Location", "/new")
        else:
            self.send_response(200)
            print(f"{status} {method}: {self.command} with {len(body)} bytes")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = answer

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever).start()
    for status in (301, 302, 307):
        for method in ("POST", "PUT", "PATCH"):
            url = f"http://127.0.0.1:{server.server_port}/{status}"
            requests.request(method, url, data=b"content")
    server.shutdown()
PYTHON
"$folder/venv/bin/python" -c 'import requests; print("requests", requests.__version__)'
"$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
301 POST: GET with 0 bytes
301 PUT: PUT with 0 bytes
301 PATCH: PATCH with 0 bytes
302 POST: GET with 0 bytes
302 PUT: GET with 0 bytes
302 PATCH: GET with 0 bytes
307 POST: POST with 7 bytes
307 PUT: PUT with 7 bytes
307 PATCH: PATCH with 7 bytes
TEXT
