"""The next check, of any kind, sees a changed certificate or authority."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from monitor.errors import ProbeError
from monitor.model import Reason
from monitor.outbound import TlsOptions
from monitor.probes.libcurl import route
from tests.probes.servers import answer
from tests.waiting import until

_OFTEN = 3
"""Checks after which a site's next one is silent, by a handle that keeps its authorities."""


def _bundle(file: Path, *authorities: trustme.CA) -> None:
    """Write a file of authorities as package managers do: a new file replaces the old one."""
    new = file.with_suffix(".new")
    new.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))
    os.utime(new, ns=(1, 1))
    new.replace(file)


def _serving(authority: trustme.CA, context: ssl.SSLContext | None = None, **dates):
    """Return a server's context; a given one serves the new certificate from now on."""
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", **dates).configure_cert(context)
    return context


@pytest.mark.parametrize("store", ["the system's", "tls.ca_file"])
def test_a_trust_store_that_changes_is_read_again(serve, watch, tmp_path, monkeypatch, store):
    """Handles in use, too, drop an authority that was removed and trust one that was added."""
    file = tmp_path / "ca.pem"
    old, new, other = trustme.CA(), trustme.CA(), trustme.CA()
    _bundle(file, other, old)
    if store == "the system's":
        monkeypatch.setattr(route, "trust_store", lambda: str(file))
    tls = TlsOptions(ca_file=None if store == "the system's" else str(file))
    check = watch(serve(answer(), tls=_serving(old)).url(), tls=tls)
    for _ in range(_OFTEN):
        assert check().tls.verified
    _bundle(file, other, new)  # as long and as old as the one before
    assert check().failure.reason is Reason.TLS_UNTRUSTED
    _bundle(file, new, other, old)
    assert check().tls.verified


def test_a_handshake_says_by_which_state_of_the_file_it_was_verified(serve, watch, tmp_path):
    """Once the file has changed, a handshake counts as another, even with the same certificate."""
    file = tmp_path / "ca.pem"
    authority = trustme.CA()
    _bundle(file, authority)
    check = watch(serve(answer(), tls=_serving(authority)).url(), tls=TlsOptions(ca_file=str(file)))
    before = {check().tls for _ in range(_OFTEN)}
    _bundle(file, authority, trustme.CA())
    after = {check().tls for _ in range(_OFTEN)}
    assert (len(before), len(after)) == (1, 1)
    assert before != after
    assert {(one.chain, one.verified, one.authorities) for one in before | after} == {
        (before.copy().pop().chain, True, str(file))
    }


def test_sites_hold_a_certificate_that_they_share_once(serve, watch, tmp_path):
    """A certificate that sites share is kept once: its text is most of what a handshake keeps."""
    file = tmp_path / "ca.pem"
    authority = trustme.CA()
    _bundle(file, authority)
    url = serve(answer(), tls=_serving(authority)).url()
    one, other = (watch(url, tls=TlsOptions(ca_file=str(file)))().tls.chain for _ in range(2))
    assert one
    assert all(mine is others for mine, others in zip(one, other, strict=True))


def test_authorities_are_those_of_the_file_alone(serve, watch, tmp_path, monkeypatch):
    """OpenSSL's default authorities from the environment are not trusted in addition."""
    ours, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority = trustme.CA()
    _bundle(ours, trustme.CA(), trustme.CA())
    _bundle(other, authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    check = watch(serve(answer(), tls=_serving(authority)).url(), tls=TlsOptions(ca_file=str(ours)))
    for _ in range(_OFTEN):
        assert check().failure.reason is Reason.TLS_UNTRUSTED


@pytest.mark.parametrize("text", ["", "no certificate\n"])
def test_a_file_without_authorities_is_our_own_fault(serve, watch, authority, tmp_path, text):
    """Checks continue as soon as the file has authorities again."""
    file = tmp_path / "ca.pem"
    file.write_bytes(Path(authority.file).read_bytes())
    check = watch(serve(answer(), tls=authority.context()).url(), tls=TlsOptions(ca_file=str(file)))
    for _ in range(_OFTEN):
        assert check().tls.verified
    file.write_text(text)
    with pytest.raises(ProbeError, match=r"cannot read the authorities in .*ca\.pem: .* PEM"):
        check()
    file.write_bytes(Path(authority.file).read_bytes())
    assert check().tls.verified


def test_an_intermediate_authority_alone_is_trusted(serve, watch, tmp_path):
    """OpenSSL verifies as libcurl requires, however it got the authorities."""
    root = trustme.CA()
    intermediate = root.create_child_ca()
    file = tmp_path / "ca.pem"
    _bundle(file, trustme.CA(), intermediate)
    context = _serving(intermediate)
    check = watch(serve(answer(), tls=context).url(), tls=TlsOptions(ca_file=str(file)))
    for _ in range(_OFTEN):
        assert check().tls.verified
    _serving(root.create_child_ca(), context)
    assert check().failure.reason is Reason.TLS_UNTRUSTED


def test_a_certificate_that_changes_is_taken_as_it_is_now(serve, watch, tmp_path):
    """The next check sees a certificate renewed, without its intermediate, or for another host."""
    root = trustme.CA()
    file = tmp_path / "ca.pem"
    _bundle(file, trustme.CA(), root)
    context = _serving(root.create_child_ca())
    check = watch(serve(answer(), tls=context).url(), tls=TlsOptions(ca_file=str(file)))
    chains = {check().tls.chain for _ in range(_OFTEN)}
    assert len(chains) == 1
    _serving(root.create_child_ca(), context)
    renewed = check()
    assert renewed.tls.verified
    assert renewed.tls.chain not in chains
    leaf = root.create_child_ca().issue_cert("127.0.0.1")
    bare = tmp_path / "bare.pem"
    bare.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    context.load_cert_chain(bare)
    assert check().failure.reason is Reason.TLS_UNTRUSTED
    root.issue_cert("elsewhere.example").configure_cert(context)
    assert check().failure.reason is Reason.TLS_WRONG_HOST
    _serving(root, context)
    assert check().tls.verified


def test_a_certificate_expires_between_two_checks(serve, watch, tmp_path):
    """The same certificate on the same handle is refused from its end on."""
    root = trustme.CA()
    file = tmp_path / "ca.pem"
    _bundle(file, trustme.CA(), root)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    url = serve(answer(), tls=context).url()
    for left in (1, 2, 4, 8, 16, 32):  # until the first checks are made in time
        _serving(root, context, not_after=datetime.now(UTC) + timedelta(seconds=left))
        check = watch(url, tls=TlsOptions(ca_file=str(file)))
        if all(check().failure is None for _ in range(_OFTEN)):
            break
    failure = until(lambda: check().failure, "the certificate's end")
    assert failure.reason is Reason.TLS_EXPIRED
