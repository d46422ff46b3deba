#!/usr/bin/env bash
# What requests makes of a 401 that offers Digest authentication twice.
#
# Expected: the client answers the first challenge whose algorithm it knows (RFC 7616, 3.7).
# What happens: requests reads both challenges as one, and answers with the realm of the first and the
#   algorithm of the second, which fits neither.
# Why a monitor cares: a camera that offers SHA-256 for one realm and MD5 for an older one stays at
#   401 although the password is right.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'requests==2.32.5'

cat > "$folder/ask.py" <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests
from requests.auth import HTTPDigestAuth

OFFERS = [("SHA-256", "new"), ("MD5", "old")]
sent: list[str] = []


class Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        sent.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        for algorithm, realm in OFFERS:
            challenge = f'Digest realm="{realm}", qop="auth", algorithm={algorithm}, nonce="n"'
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Camera)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
requests.get(url, auth=HTTPDigestAuth("u", "p"), timeout=10)
print("requests", requests.__version__)
print(sent)
raise SystemExit(0 if 'realm="new"' in sent[1] and 'algorithm="MD5"' in sent[1] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
