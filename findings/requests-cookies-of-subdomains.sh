#!/usr/bin/env bash
# Where requests sends a cookie that was set without a Domain.
#
# Expected: to the host that set it and to no other (RFC 6265, 5.3, the host-only flag), as every
#   browser and curl do.
# What happens: http.cookiejar, by its default policy, sends it to every host below that one too.
#   A strict policy of the session's own jar changes nothing, because requests makes a new jar with
#   the default policy for each request; it must be the policy of the request's cookies.
# Why a monitor cares: a redirect to a subdomain takes along a session that a browser would leave, so
#   a login that fails for visitors looks well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q requests==2.34.2 responses==0.26.3
cat >"$folder/ask.py" <<'PYTHON'
from http.cookiejar import DefaultCookiePolicy

import requests
import responses

STRICT = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
for name in ("default", "strict session", "strict jar"):
    for place in ("shop.example", "www.shop.example", "other.example"):
        with responses.RequestsMock() as web:
            headers = {"Location": f"http://{place}/", "Set-Cookie": "sid=1"}
            web.get("http://shop.example/in", status=302, headers=headers)
            web.get(f"http://{place}/")
            session = requests.Session()
            if name == "strict session":
                session.cookies.set_policy(STRICT)
            session.get("http://shop.example/in", allow_redirects=False)
            request = session.prepare_request(requests.Request("GET", f"http://{place}/"))
            if name == "strict jar":
                jar = requests.cookies.RequestsCookieJar(STRICT)
                jar.update(session.cookies)
                request = requests.Request("GET", f"http://{place}/").prepare()
                request.prepare_cookies(jar)
            session.send(request)
            sent = web.calls[-1].request.headers.get("Cookie")
        print(f"{name}, to {place}: {sent}")
PYTHON
"$folder/venv/bin/python" -c 'import requests, sys; print("requests", requests.__version__)'
"$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
default, to shop.example: sid=1
default, to www.shop.example: sid=1
default, to other.example: None
strict session, to shop.example: sid=1
strict session, to www.shop.example: sid=1
strict session, to other.example: None
strict jar, to shop.example: sid=1
strict jar, to www.shop.example: None
strict jar, to other.example: None
TEXT
