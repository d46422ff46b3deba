#!/usr/bin/env bash
# What libcurl makes of Content-Encoding.
#
# Expected: a gzip may have several members (RFC 1952, 2.2), a value that names no coding leaves the
#   body as it is, and a stream that is cut off is an error, however the body is framed.
# What happens: a second member and an unknown value are errors (23 and 61), and streams that lack
#   their end are good: half a page, without a word.
# Why a monitor cares: pages that every browser shows would be down, and half a page would be up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0
cat >"$folder/ask.py" <<'PYTHON'
import gzip
import io
import socket
import threading
import zlib

import pycurl

TEXT = b"".join(b"row %d\n" % number for number in range(500))
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def framed(codings, body):
    return HEAD + codings + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(codings, body):
    head = HEAD + codings + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


GZIP = b"Content-Encoding: gzip\r\n"
CASES = {
    "one gzip": framed(GZIP, gzip.compress(TEXT)),
    "two members": framed(GZIP, gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])),
    "two codings, one line": framed(
        b"Content-Encoding: deflate, gzip\r\n", gzip.compress(zlib.compress(TEXT))
    ),
    "two codings, two lines": framed(GZIP + GZIP, gzip.compress(gzip.compress(TEXT))),
    "UTF-8 as coding": framed(b"Content-Encoding: UTF-8\r\n", TEXT),
    "gzip cut off, chunked": chunked(GZIP, gzip.compress(TEXT)[:600]),
    "deflate cut off": framed(b"Content-Encoding: deflate\r\n", zlib.compress(TEXT)[:600]),
}


def ask(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            sock.recv(65536)
            sock.sendall(answer)
            sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        body = io.BytesIO()
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        curl.setopt(pycurl.ACCEPT_ENCODING, "")
        curl.setopt(pycurl.WRITEDATA, body)
        curl.setopt(pycurl.TIMEOUT, 5)
        try:
            curl.perform()
            said = "good" if body.getvalue() == TEXT else f"good, {len(body.getvalue())} bytes"
        except pycurl.error as error:
            said = f"error {error.args[0]}"
        thread.join()
        return said


for name, answer in CASES.items():
    print(f"{name}: {ask(answer)}")
PYTHON
"$folder/venv/bin/python" -c 'import pycurl; print(pycurl.version.split(" OpenSSL")[0])'
"$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
one gzip: good
two members: error 23
two codings, one line: good
two codings, two lines: good
UTF-8 as coding: error 61
gzip cut off, chunked: good, 2167 bytes
deflate cut off: good, 2192 bytes
TEXT
