#!/usr/bin/env bash
# How libcurl asks an HTTP proxy for an http URL once CURLOPT_CONNECT_TO is set.
#
# Expected: an http URL is asked for in full ("GET http://a.example/"), and the proxy is shown the
#   User-Agent among the request's headers.
# What happens: libcurl opens a tunnel ("CONNECT 192.0.2.1:80") as for https. To CONNECT it adds none
#   of the request's headers, but the User-Agent of its own option, which pycurl fills with the names
#   and versions of all libraries that it was built with.
# Why a monitor cares: proxies mostly refuse CONNECT to ports other than 443, and their operators see
#   another user agent than the one that was configured.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'pycurl==7.45.7'

cat > "$folder/ask.py" <<'PYTHON'
import socket
import threading

import pycurl

proxy = socket.create_server(("127.0.0.1", 0))
asked: list[list[str]] = []


def refuse() -> None:
    for _ in range(2):
        client = proxy.accept()[0]
        asked.append(client.recv(65536).decode().split("\r\n"))
        client.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        client.close()


threading.Thread(target=refuse, daemon=True).start()
for elsewhere in ([], ["a.example:80:192.0.2.1:80"]):
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, "http://a.example/")
    curl.setopt(pycurl.PROXY, f"http://127.0.0.1:{proxy.getsockname()[1]}")
    curl.setopt(pycurl.HTTPHEADER, ["User-Agent: mine/1"])
    curl.setopt(pycurl.CONNECT_TO, elsewhere)
    curl.setopt(pycurl.TIMEOUT, 10)
    try:
        curl.perform()
    except pycurl.error:
        pass
print(pycurl.version)
agents = [next((one for one in lines if one.startswith("User-Agent")), "") for lines in asked]
for lines, agent in zip(asked, agents, strict=True):
    print(lines[0], "|", agent)
plain = asked[0][0].startswith("GET http://a.example/") and agents[0] == "User-Agent: mine/1"
tunnel = asked[1][0].startswith("CONNECT 192.0.2.1:80") and "libcurl/" in agents[1]
raise SystemExit(0 if plain and tunnel else 1)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py"
