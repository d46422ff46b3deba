"""Translates cipher suite names: from OpenSSL's, which libcurl reports, to IANA's."""

import re
from functools import cache

# TLS 1.2 and older; OpenSSL omits RSA key exchange, CBC mode and the SHA-256 of ChaCha20
_SUITE = re.compile(
    r"(?:(?P<exchange>ECDHE-ECDSA|ECDHE-RSA|DHE-RSA|DHE-DSS|RSA-PSK|DHE-PSK|ECDHE-PSK|PSK|SRP"
    r"|AECDH|ADH)-)?"
    r"(?P<cipher>AES|CAMELLIA|ARIA|CHACHA20|DES-CBC3|NULL)(?P<bits>128|256)?"
    r"(?:-(?P<mode>GCM|CCM8|CCM|POLY1305))?"
    r"(?:-(?P<mac>SHA384|SHA256|SHA|MD5))?"
)
_EXCHANGES = {"AECDH": "ECDH_anon", "ADH": "DH_anon"}


@cache
def iana_name(name: str) -> str:
    """
    Return IANA's name of a suite, ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256``.

    TLS 1.3 suites have only one name; a suite whose name follows no known rule keeps OpenSSL's.
    """
    match = _SUITE.fullmatch(name)
    if name.startswith("TLS_") or not match:
        return name
    exchange, cipher, bits, mode, mac = match.group("exchange", "cipher", "bits", "mode", "mac")
    kind = _EXCHANGES.get(exchange, exchange.replace("-", "_")) if exchange else "RSA"
    if cipher == "CHACHA20":
        return f"TLS_{kind}_WITH_CHACHA20_POLY1305_SHA256"
    if cipher == "DES-CBC3":
        return f"TLS_{kind}_WITH_3DES_EDE_CBC_{mac}"
    if cipher == "NULL":
        return f"TLS_{kind}_WITH_NULL_{mac}"
    parts = ["TLS", kind, "WITH", cipher, bits, {"CCM8": "CCM_8", None: "CBC"}.get(mode, mode), mac]
    return "_".join(part for part in parts if part)
