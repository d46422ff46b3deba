#!/usr/bin/env bash
# libcurl's cipher list and HTTP/3.
#
# Expected: CURLOPT_SSL_CIPHER_LIST "DEFAULT:@SECLEVEL=0" lets a weak key pass, or is refused.
# What happens: over TCP it does; over QUIC the same option is taken and has no effect, in silence.
# Why a monitor cares: an option that lets an old device pass would hold for HTTP/1.1 and HTTP/2,
#   and the same device would be down over HTTP/3. The level must be set on the SSL_CTX itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0 aioquic==1.7.2
openssl req -x509 -newkey rsa:1024 -nodes -days 9 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost \
  -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2> /dev/null
cat > "$folder/ask.py" <<'PYTHON'
import asyncio, contextlib, socket, ssl, sys, threading
import pycurl
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

certificate, key = (f"{sys.argv[1]}/{name}.pem" for name in ("certificate", "key"))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("DEFAULT:@SECLEVEL=0")
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))

def over_tcp():
    while True:
        raw = listener.accept()[0]
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
threading.Thread(target=over_tcp, daemon=True).start()

class Answer(QuicConnectionProtocol):
    http = None

    def quic_event_received(self, event):
        self.http = self.http or H3Connection(self._quic)
        for one in self.http.handle_event(event):
            if isinstance(one, HeadersReceived):
                self.http.send_headers(one.stream_id, [(b":status", b"204")], end_stream=True)
        self.transmit()

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
quic = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
quic.load_cert_chain(certificate, key)
server = asyncio.run_coroutine_threadsafe(
    serve("127.0.0.1", 0, configuration=quic, create_protocol=Answer), loop).result()
ports = listener.getsockname()[1], server._transport.get_extra_info("sockname")[1]

print("libcurl", pycurl.version_info()[1])
versions = (("TCP", pycurl.CURL_HTTP_VERSION_1_1), ("QUIC", pycurl.CURL_HTTP_VERSION_3ONLY))
for (name, version), port in zip(versions, ports):
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"https://localhost:{port}/")
    curl.setopt(pycurl.CAINFO, certificate)
    curl.setopt(pycurl.HTTP_VERSION, version)
    curl.setopt(pycurl.SSL_CIPHER_LIST, "DEFAULT:@SECLEVEL=0")
    curl.setopt(pycurl.IPRESOLVE, pycurl.IPRESOLVE_V4)
    curl.setopt(pycurl.TIMEOUT, 5)
    try:
        curl.perform()
        print(f"{name}: status", curl.getinfo(pycurl.RESPONSE_CODE))
    except pycurl.error as error:
        print(f"{name}: error", error.args[0], curl.getinfo(pycurl.SSL_VERIFYRESULT))
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
libcurl 8.23.0
TCP: status 204
QUIC: error 60 66
TEXT
