#!/usr/bin/env bash
# libcurl and a certificate that names its host in the common name alone.
#
# Expected: a certificate without a subjectAltName covers no host (RFC 9525, 2). Browsers and Go
#   refuse it.
# What happens: libcurl takes the common name for the host's, and so does Python's ssl.
# Why a monitor cares: the site is down for everybody with a browser, and up for the monitor. What
#   libcurl kept of the chain (CURLOPT_CERTINFO) must be looked at once more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost \
  -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2> /dev/null
cat > "$folder/ask.py" <<'PYTHON'
import contextlib, socket, ssl, sys, threading
import pycurl

folder = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/certificate.pem", f"{folder}/key.pem")
listener = socket.create_server(("127.0.0.1", 0))

def serve():
    for _ in range(2):
        raw = listener.accept()[0]
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
threading.Thread(target=serve, daemon=True).start()

port = listener.getsockname()[1]
trusting = ssl.create_default_context(cafile=f"{folder}/certificate.pem")
try:
    raw = socket.create_connection(("127.0.0.1", port))
    trusting.wrap_socket(raw, server_hostname="localhost").close()
    print("Python: accepted")
except ssl.SSLCertVerificationError as error:
    print("Python:", error.verify_message.partition(",")[0])
curl = pycurl.Curl()
curl.setopt(pycurl.URL, f"https://localhost:{port}/")
curl.setopt(pycurl.CAINFO, f"{folder}/certificate.pem")
curl.setopt(pycurl.TIMEOUT, 5)
try:
    curl.perform()
    print(f"libcurl {pycurl.version_info()[1]}: status", curl.getinfo(pycurl.RESPONSE_CODE))
except pycurl.error as error:
    print(f"libcurl {pycurl.version_info()[1]}:", *error.args)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
Python: accepted
libcurl 8.23.0: status 204
TEXT
