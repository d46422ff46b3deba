#!/usr/bin/env bash
# What a % that begins no escape does to the escapes beside it.
#
# Expected: it is sent as it stands, as curl and browsers do, or as %25; %20 stays %20 (RFC 3986, 2.4:
#   nothing is escaped twice).
# What happens: requests escapes every % of the URL then, so that %20 becomes %2520.
# Why a monitor cares: ?discount=100%&q=a%20b asks for another page than the one that was listed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q requests==2.32.5
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import requests

print("requests", requests.__version__)
for query in ("q=a%20b", "off=100%25&q=a%20b", "off=100%&q=a%20b"):
    print(requests.Request("GET", f"http://a.example/?{query}").prepare().path_url)
PYTHON
diff "$folder/seen" - <<'TEXT'
requests 2.32.5
/?q=a%20b
/?off=100%25&q=a%20b
/?off=100%25&q=a%2520b
TEXT
