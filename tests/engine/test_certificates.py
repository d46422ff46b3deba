"""When a worker's analysis of a site's certificates applies to the next handshake as well."""

from dataclasses import replace

import pytest

from monitor.engine.certificates import KnownCertificates
from monitor.model import UP, Analysis, Certificate, Reason, TlsSession, Verdict
from tests.builders import answered, site

DOWN = Verdict(up=False, reason=Reason.STATUS, message="status 503 is not in 2xx")
SHOP = site()
TLS = TlsSession(
    version="TLS 1.3", chain=("LEAF", "ISSUER"), verified=True, authorities="ca.pem", stamp=(1, 2)
)


def certificate(name: str, ends: float) -> Certificate:
    return Certificate(
        subject=f"CN={name}",
        issuer="CN=R11",
        names=(name,),
        serial="01",
        not_before=0.0,
        not_after=ends,
        fingerprint="ab" * 32,
    )


FOUND = Analysis(
    verdict=DOWN,
    broken=("status",),
    chain=(certificate("leaf", 300.0), certificate("issuer", 200.0)),
    hop_chains=((certificate("hop", 400.0),),),
    validity=(0.0, 200.0),
    client=certificate("client", 500.0),
)


def learnt(at: float = 100.0, tls: TlsSession = TLS, kept: Analysis = FOUND) -> KnownCertificates:
    known = KnownCertificates()
    known.learn(SHOP, seen(at, tls), FOUND, kept)
    return known


def seen(time: float = 110.0, tls: TlsSession | None = TLS):
    return replace(answered(time), tls=tls)


def test_only_the_certificates_are_known():
    """Verdict and other findings belong to the next answer; one object serves all checks."""
    known = learnt()
    again = known.of(SHOP, seen())
    assert again == Analysis(
        verdict=UP, chain=FOUND.chain, validity=FOUND.validity, client=FOUND.client
    )
    equal = replace(TLS)
    known.learn(SHOP, seen(tls=equal), again, again)
    assert known.of(SHOP, seen(tls=equal)) is again


def test_what_is_known_need_not_be_truncated_again():
    """Findings of an earlier result are truncated already; a worker's new findings are not."""
    known = learnt()
    again = known.of(SHOP, seen())
    assert again is not None
    assert known.are_kept(SHOP, again)
    assert not known.are_kept(SHOP, replace(again))
    assert not KnownCertificates().are_kept(SHOP, FOUND)


@pytest.mark.parametrize(
    "other",
    [
        None,
        replace(TLS, chain=("NEW", "ISSUER")),
        replace(TLS, stamp=(1, 3)),
        replace(TLS, authorities="other.pem"),
        replace(TLS, verified=None, authorities=None, stamp=None),
        replace(TLS, client=("OURS",)),
    ],
    ids=["plain", "chain", "stamp", "authorities", "unverified", "client"],
)
def test_another_handshake_is_not_known(other):
    """Whatever differs in the handshake, a worker has to analyse it."""
    assert learnt().of(SHOP, seen(tls=other)) is None
    assert KnownCertificates().of(SHOP, seen()) is None


@pytest.mark.parametrize(
    ("learnt_at", "time", "holds"),
    [(100.0, 200.0, True), (100.0, 200.5, False), (250.0, 300.0, True), (250.0, 199.0, False)],
)
def test_what_depends_on_the_time_is_looked_at_again(learnt_at, time, holds):
    """A certificate that expires, or a clock set back before that, changes what limits a chain."""
    assert (learnt(learnt_at).of(SHOP, seen(time)) is not None) is holds


def test_a_file_that_nobody_watches_is_looked_at_each_time():
    """If the probe cannot tell whether the authorities changed, a worker has to analyse it."""
    unwatched = replace(TLS, stamp=None)
    assert learnt(tls=unwatched).of(SHOP, seen(tls=unwatched)) is None


def test_what_was_cut_is_not_remembered():
    """A chain too long for a result is not remembered, and the one before it is forgotten."""
    known = learnt()
    known.learn(SHOP, seen(), replace(FOUND), replace(FOUND, chain=FOUND.chain[:1]))
    assert known.of(SHOP, seen()) is None


def test_a_site_that_changes_is_another_one():
    """A site with the same name and another URL starts afresh; the old certificates are dropped."""
    assert learnt().of(replace(SHOP, url="https://elsewhere.example/"), seen()) is None
