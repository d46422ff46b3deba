"""Certificates, well formed or not: what is read from them, and why one is not accepted."""

import base64
import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.certificate import covers, decode_chain, why_not_accepted
from monitor.model import Failure, Reason
from tests.analysis.answers import DAY, NOW, SHOP, pem

CA = pem(common="Intermediate", issuer="Root", before=NOW - 400 * DAY, after=NOW - DAY)


def armoured(der: bytes) -> str:
    return (
        "-----BEGIN CERTIFICATE-----\n"
        + base64.encodebytes(der).decode()
        + "-----END CERTIFICATE-----\n"
    )


def test_a_certificate_becomes_a_record():
    """Names are RFC 4514 text, times are seconds, serial and fingerprint lower-case hexadecimal."""
    (leaf,) = decode_chain((SHOP,))
    parsed = x509.load_pem_x509_certificate(SHOP.encode())
    assert leaf.subject == "CN=example.com"
    assert leaf.issuer == "CN=Test CA"
    assert leaf.names == ("*.example.com", "example.com")
    assert leaf.serial == "ff"
    assert leaf.not_before == (NOW - 30 * DAY).timestamp()
    assert leaf.not_after == (NOW + 60 * DAY).timestamp()
    assert bytes.fromhex(leaf.fingerprint) == parsed.fingerprint(hashes.SHA256())


def test_a_common_name_is_no_name():
    """Only alternative names count (RFC 9525); an address among the DNS names is marked."""
    assert decode_chain((pem(common="old.example"),))[0].names == ()
    assert decode_chain((pem("192.0.2.1", "a.example"),))[0].names == ("DNS:192.0.2.1", "a.example")
    assert decode_chain((pem(),))[0].names == ()


def test_the_last_moment_there_is_can_be_read():
    """A certificate that never ends has the year 9999 (RFC 5280, 4.1.2.5)."""
    forever = NOW.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59)
    assert decode_chain((pem("a.example", after=forever),))[0].not_after == forever.timestamp()


def test_a_negative_serial_number_is_no_news():
    """Certificates of older authorities have one, which is read without a warning."""
    der = ssl.PEM_cert_to_DER_cert(SHOP).replace(b"\x02\x02\x00\xff", b"\x02\x02\x80\xff", 1)
    (leaf,) = decode_chain((armoured(der),))
    assert leaf.serial == "-7f01"


def test_a_chain_ends_before_what_cannot_be_read():
    """Certificates keep their place in the chain: the first is the leaf, or the chain is empty."""
    assert len(decode_chain((SHOP, CA, "junk", CA))) == 2
    assert decode_chain(("junk", CA)) == ()
    assert decode_chain((armoured(b"junk"),)) == ()


@given(st.data())
def test_no_certificate_is_too_odd(data):
    """Whichever bytes are changed, decoding returns a usable record or nothing."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(SHOP))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    for one in decode_chain((armoured(bytes(der)),)):
        assert covers(one.names, "shop.example.com") in (True, False)
        for reason in Reason:
            failure = Failure(reason, "message")
            for verdict in (18, 20, 47):
                why = why_not_accepted(failure, verdict, (one,), "h.example", NOW.timestamp())
                assert why.encode().decode() == why


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("example.com",), "example.com", True),
        (("example.com",), "EXAMPLE.com.", True),
        (("Example.COM",), "example.com", True),
        (("example.com",), "www.example.com", False),
        (("*.example.com",), "www.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), "a.b.example.com", False),
        (("*.com",), "example.com", False),
        (("*",), "localhost", False),
        (("w*.example.com",), "www.example.com", False),
        (("www.*.com",), "www.example.com", False),
        (("xn--mnchen-3ya.example",), "münchen.example", True),
        (("192.0.2.1",), "192.0.2.1", True),
        (("*.0.2.1",), "192.0.2.1", False),
        (("2001:db8::1",), "2001:DB8:0::1", True),
        ((), "example.com", False),
        (("a" * 80 + "é",), "a" * 80 + "é", True),
        (("",), "", True),
    ],
)
def test_names_cover_hosts_by_rfc_9525(names, host, covered):
    """A star stands for exactly the leftmost label, and never right below the top level."""
    assert covers(names, host) is covered


@pytest.mark.parametrize(
    ("reason", "chain", "sentence"),
    [
        (
            Reason.TLS_WRONG_HOST,
            (SHOP, CA),
            "certificate for *.example.com, example.com does not cover h.example",
        ),
        (
            Reason.TLS_WRONG_HOST,
            (pem(*(f"{n}.example.com" for n in range(1000))),),
            (
                "certificate for 0.example.com, 1.example.com, 2.example.com and 997 more "
                "does not cover h.example"
            ),
        ),
        (
            Reason.TLS_WRONG_HOST,
            (pem(),),
            (
                "certificate does not cover h.example: it has no subject alternative name, and the "
                "common name does not count (RFC 9525)"
            ),
        ),
        (Reason.TLS_WRONG_HOST, (pem("h.example"),), "as the probe said"),
        (Reason.TLS_WRONG_HOST, (), "as the probe said"),
        (
            Reason.TLS_EXPIRED,
            (pem("a.example", after=NOW - timedelta(hours=36)), CA),
            "certificate for a.example expired on 2026-11-21 00:00 UTC, 1.5 days ago",
        ),
        (
            Reason.TLS_EXPIRED,
            (SHOP, CA),
            (
                "certificate of the authority CN=Intermediate expired on 2026-11-21 12:00 UTC, "
                "1.0 days ago"
            ),
        ),
        (Reason.TLS_EXPIRED, (SHOP,), "as the probe said"),
        (
            Reason.TLS_NOT_YET_VALID,
            (pem("a.example", before=NOW + DAY),),
            "certificate for a.example is not valid before 2026-11-23 12:00 UTC",
        ),
        (
            Reason.TLS_UNTRUSTED,
            (SHOP,),
            "as the probe said",
        ),
        (
            Reason.TLS_UNTRUSTED,
            (pem("a.example", common="Me", issuer="Me"),),
            "as the probe said",
        ),
        (Reason.TLS_PROTOCOL, (SHOP,), "as the probe said"),
    ],
)
def test_a_rejected_certificate_is_explained_by_what_it_says(reason, chain, sentence):
    """The message has the names, date or issuer; if none explains it, the probe's words stay."""
    failure = Failure(reason, "as the probe said")
    message = why_not_accepted(failure, 0, decode_chain(chain), "h.example", NOW.timestamp())
    assert message == sentence


@pytest.mark.parametrize(
    ("verdict", "chain", "sentence"),
    [
        (
            20,
            (SHOP,),
            (
                "certificate for *.example.com, example.com is issued by CN=Test CA, which is not "
                "trusted; does the server send its intermediates?"
            ),
        ),
        (
            19,
            (pem("a.example", issuer="Intermediate"), SHOP, CA),
            (
                "certificate of the authority CN=Intermediate is issued by CN=Root, which is not "
                "trusted"
            ),
        ),
        (
            20,
            (SHOP, CA),
            (
                "certificate for *.example.com, example.com is issued by CN=Test CA, which is not "
                "trusted; does the server send its intermediates?"
            ),
        ),
        (
            18,
            (pem("a.example", common="Me", issuer="Me"),),
            "certificate for a.example is self-signed by CN=Me",
        ),
        (66, (pem("a.example", common="Me", issuer="Me"),), "as the probe said"),
        (
            47,
            (SHOP, CA),
            (
                "certificate for *.example.com, example.com is outside the names for which an "
                "authority may issue"
            ),
        ),
    ],
)
def test_an_untrusted_certificate_is_explained_by_the_verdict(verdict, chain, sentence):
    """The message depends on OpenSSL's verdict, not on what the certificate looks like."""
    failure = Failure(Reason.TLS_UNTRUSTED, "as the probe said")
    message = why_not_accepted(failure, verdict, decode_chain(chain), "h.example", NOW.timestamp())
    assert message == sentence
