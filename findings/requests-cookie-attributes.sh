#!/usr/bin/env bash
# What an attribute that cannot be does to its cookie.
#
# Expected: the attribute is ignored, and the cookie kept (RFC 6265, 5.2.2 and 5.2.3), as browsers do.
# What happens: http.cookiejar, and so requests, drops the whole cookie.
# Why a monitor cares: a log-in that sets such a cookie and redirects runs into a loop.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q requests==2.32.5
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

ATTRIBUTES = ("Path=/", "Max-Age=1.5", "Max-Age=", "Domain", "Expires=0")


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Set-Cookie", f"sid=1; {ATTRIBUTES[int(self.path[1:])]}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("requests", requests.__version__)
for number, attribute in enumerate(ATTRIBUTES):
    jar = requests.get(f"http://127.0.0.1:{server.server_port}/{number}").cookies
    print(attribute, "kept" if "sid" in jar else "lost")
PYTHON
diff "$folder/seen" - <<'TEXT'
requests 2.32.5
Path=/ kept
Max-Age=1.5 lost
Max-Age= lost
Domain lost
Expires=0 kept
TEXT
