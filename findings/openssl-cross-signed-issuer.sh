#!/usr/bin/env bash
# OpenSSL and an intermediate that two authorities have signed, of which only one is trusted.
#
# Expected: a chain to the trusted authority can be built of what the server sends, so it is found,
#   in whatever order the two certificates come. Go and browsers find it.
# What happens: OpenSSL takes the first certificate whose name and key fit, and fails at the issuer
#   of that one ("unable to get local issuer certificate"); it never tries the other.
# Why a monitor cares: sites are down for everything that uses OpenSSL, and up for browsers; the
#   message names an issuer that is missing, though the one that is needed was sent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q cryptography==48.0.0 pyOpenSSL==26.2.0
cat > "$folder/verify.py" <<'PYTHON'
import datetime
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store
from OpenSSL import SSL, crypto

now = datetime.datetime.now(datetime.UTC)

def certificate(subject, key, issuer, issuer_key, authority=True):
    name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    usage = x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)
    builder = (
        x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(usage, True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("a.example")]), False
        ).add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(issuer_key, hashes.SHA256())

ours, theirs, middle, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
root = certificate("Trusted", ours, "Trusted", ours)
good = certificate("Middle", middle, "Trusted", ours)
crossed = certificate("Middle", middle, "Unknown", theirs)
leaf = certificate("leaf", own, "Middle", middle, authority=False)

def by_openssl(*sent):
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(root))
    chain = [crypto.X509.from_cryptography(one) for one in sent]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), chain).verify_certificate()
    except crypto.X509StoreContextError as error:
        return error.args[0]
    return "trusted"

def by_cryptography(*sent):
    policy = PolicyBuilder().store(Store([root])).build_server_verifier(x509.DNSName("a.example"))
    return "trusted" if policy.verify(leaf, list(sent)) else "never"

print(" ".join(SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode().split()[:1]))
for text, sent in (("the good one first", (good, crossed)), ("the other first", (crossed, good))):
    print(f"{text}: OpenSSL: {by_openssl(*sent)}; cryptography: {by_cryptography(*sent)}")
PYTHON
"$folder/venv/bin/python" "$folder/verify.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
OpenSSL
the good one first: OpenSSL: trusted; cryptography: trusted
the other first: OpenSSL: unable to get local issuer certificate; cryptography: trusted
TEXT
