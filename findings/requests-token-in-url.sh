#!/usr/bin/env bash
# What becomes of a user without a password in a URL.
#
# Expected: Authorization: Basic of "TOKEN:", as curl and Go send it; several services take a token
#   that way.
# What happens: requests sends no Authorization, unless a colon follows the token. A password beyond
#   Latin-1 ends in a UnicodeEncodeError.
# Why a monitor cares: the site answers 401, and the list says what works elsewhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q requests==2.32.5
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import requests

print("requests", requests.__version__)
for userinfo in ("token", "token:", "user:%E2%82%AC"):
    try:
        prepared = requests.Request("GET", f"http://{userinfo}@a.example/").prepare()
        print(userinfo, prepared.headers.get("Authorization"))
    except UnicodeEncodeError as error:
        print(userinfo, type(error).__name__)
PYTHON
diff "$folder/seen" - <<'TEXT'
requests 2.32.5
token None
token: Basic dG9rZW46
user:%E2%82%AC UnicodeEncodeError
TEXT
