#!/usr/bin/env bash
# libcurl and a server that refuses our client certificate because it has expired.
#
# Expected: an error of its own, or at least another than that of a server's certificate which we do
#   not trust. Other alerts about a client's certificate are 35, 56 or 98.
# What happens: in TLS 1.2 the alert certificate_expired becomes error 60 as well,
#   CURLE_PEER_FAILED_VERIFICATION, and only the text is another.
# Why a monitor cares: somebody would be called to renew the certificate of a site that is well,
#   while the one that has ended is ours.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0 cryptography==48.0.0
cat > "$folder/ask.py" <<'PYTHON'
import contextlib, datetime, socket, ssl, sys, threading
import pycurl
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

folder = sys.argv[1]
now = datetime.datetime.now(datetime.UTC)

def make(name, days):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(key, hashes.SHA256())
    )
    with open(f"{folder}/{name}.pem", "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
    return f"{folder}/{name}.pem"

server, client = make("localhost", 90), make("client", -1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(server)
context.load_verify_locations(client)
context.verify_mode = ssl.CERT_REQUIRED
context.maximum_version = ssl.TLSVersion.TLSv1_2
listener = socket.create_server(("127.0.0.1", 0))

def serve():
    for _ in range(2):
        raw = listener.accept()[0]
        with contextlib.suppress(OSError):
            context.wrap_socket(raw, server_side=True).close()
        raw.close()
threading.Thread(target=serve, daemon=True).start()
print("libcurl", pycurl.version_info()[1])
for text, trusted in (("ours has expired", server), ("theirs is not trusted", client)):
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"https://localhost:{listener.getsockname()[1]}/")
    curl.setopt(pycurl.CAINFO, trusted)
    curl.setopt(pycurl.SSLCERT, client)
    curl.setopt(pycurl.TIMEOUT, 5)
    try:
        curl.perform()
    except pycurl.error as error:
        print(f"{text}:", *error.args)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
libcurl 8.23.0
ours has expired: 60 SSL certificate verification failed
theirs is not trusted: 60 SSL certificate problem: self-signed certificate
TEXT
