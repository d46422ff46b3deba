"""Why probes that speak TLS refuse certificates: every such probe, over loopback."""

import ssl
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from monitor.analysis.expectations.tls import parse_certificate
from monitor.analysis.judge import judge
from monitor.errors import ConfigError
from monitor.model import Job, Reason
from monitor.outbound import TlsOptions
from monitor.probes.http import HttpOptions
from tests.analysis.answers import decoded
from tests.narrowing import known
from tests.probes.certificates import CLIENTS_ONLY, DAY, issue, weak_key
from tests.probes.servers import answer, read_request
from tests.probes.talk import LINE, observe, site_of, take, talk
from tests.waiting import PATIENCE

POP3 = (b"+OK\r\n", LINE, b"+OK\r\n")
DOORS: dict[str, tuple[str, dict[str, Any], Sequence[Any]]] = {
    "https": ("https", {}, ()),
    "tls": ("tls", {}, ()),
    "starttls": ("tls", {"tls": {"starttls": "pop3"}}, POP3),
    "tcp": ("tcp", {"tcp": {"dialogue": [{"starttls": True}]}}, ()),
    "wss": ("wss", {}, ()),
    "grpcs": ("grpcs", {}, ()),
    "dns": ("dns", {"dns": {"transport": "tls"}}, ()),
}
doors = pytest.mark.parametrize("door", DOORS)


@pytest.fixture
def root():
    return issue("Root", authority=True)


@pytest.fixture
def look(handles, serve, tmp_path):
    """Return a function that checks a server with this certificate by one of the probes."""

    def run(door, context, trusted, host="localhost", script=None, **tls):
        scheme, keys, opening = DOORS[door]
        if script is None:
            script = answer() if door == "https" else [take(1)]
        server = serve(talk(*opening, context, *script), host="0.0.0.0")
        path = tmp_path / "trusted.pem"
        path.write_text("".join(one.pem for one in trusted))
        path_of_url = "/a.example" if door == "dns" else ""
        url = f"{scheme}://{host}:{server.port}{path_of_url}"
        tls = {**keys.get("tls", {}), **tls}
        authority = SimpleNamespace(file=str(path))
        seen = observe(handles, authority, url, **{**keys, "tls": tls, "timeout": "3s"})
        return seen, judge(Job(observation=seen, url=url)).verdict

    return run


@doors
def test_a_common_name_stands_for_no_host(look, root, tmp_path, door):
    """A certificate without subjectAltName covers no host, whatever its common name (RFC 9525)."""
    server = issue("localhost", by=root)
    seen, verdict = look(door, server.context(tmp_path), [root])
    assert verdict.reason is Reason.TLS_WRONG_HOST
    assert verdict.message == (
        "certificate CN=localhost does not cover localhost: it has no subject alternative name, "
        "and the common name does not count (RFC 9525)"
    )
    assert (seen.tls.verified, len(seen.tls.chain)) == (False, 1)


@pytest.mark.parametrize("door", ["tls", "starttls", "tcp"])
def test_a_connection_that_is_not_trusted_is_closed(look, root, tmp_path, door):
    """The probe closes the connection if libcurl accepts the common name but the probe does not."""
    ended = threading.Event()

    def read_to_the_end(connection):
        with suppress(ConnectionResetError):
            while connection.sock.recv(65536):
                pass
        ended.set()

    server = issue("localhost", by=root)
    _, verdict = look(door, server.context(tmp_path), [root], script=[read_to_the_end])
    assert verdict.reason is Reason.TLS_WRONG_HOST
    assert ended.wait(PATIENCE)


def test_a_common_name_covers_no_address(look, root, tmp_path):
    """A common name covers no IP address either, even beside names of another kind."""
    mail = x509.SubjectAlternativeName([x509.RFC822Name("DNS@localhost")])
    for server in (issue("127.0.0.1", by=root), issue("127.0.0.1", by=root, extensions=[mail])):
        _, verdict = look("tls", server.context(tmp_path), [root], host="127.0.0.1")
        assert verdict.reason is Reason.TLS_WRONG_HOST


def test_a_common_name_does_without_verification(look, root, tmp_path):
    """With verify: false, a certificate without names is accepted."""
    seen, _ = look("https", issue("x", by=root).context(tmp_path), [root], verify=False)
    assert (seen.failure, seen.tls.verified) == (None, None)


def test_a_common_name_in_mid_course(watch, serve, root, tmp_path):
    """A repeated, silent check fails as soon as the site's certificate has no names any more."""
    context = issue("localhost", "localhost", by=root).context(tmp_path)
    server = serve(answer(), tls=context)
    look = watch(server.url(host="localhost"), tls=TlsOptions(ca_file=root.file(tmp_path / "ca")))
    assert [look().failure for _ in range(3)] == [None] * 3
    issue("localhost", by=root).serve_by(context, tmp_path)
    seen = look()
    assert seen.failure.reason is Reason.TLS_WRONG_HOST
    assert seen.tls.verified is False


def test_a_common_name_in_mid_course_beside_another_answer(watch, serve, root, tmp_path):
    """A new certificate without names fails the check even if the answer becomes a redirect too."""
    context = issue("localhost", "localhost", by=root).context(tmp_path)
    moved = answer(status="302 Found", headers=(("Location", "/new"),))
    server = serve(lambda number: answer() if number < 3 else moved, tls=context)
    look = watch(server.url(host="localhost"), tls=TlsOptions(ca_file=root.file(tmp_path / "ca")))
    assert [look().failure for _ in range(3)] == [None] * 3
    issue("localhost", by=root).serve_by(context, tmp_path)
    assert look().failure.reason is Reason.TLS_WRONG_HOST


def test_a_common_name_on_a_hop(check, serve, root, tmp_path):
    """A certificate without names fails the check on any connection of a redirect."""
    tls = TlsOptions(ca_file=root.file(tmp_path / "ca"))
    good, bad = issue("x", "localhost", by=root), issue("localhost", by=root)
    for first, last in ((good, bad), (bad, good)):
        end = serve(answer(), tls=last.context(tmp_path))
        to = (("Location", end.url(host="localhost")),)
        begin = serve(answer(status="302 Found", headers=to), tls=first.context(tmp_path))
        seen = check(begin.url(host="localhost"), tls=tls)
        assert seen.failure.reason is Reason.TLS_WRONG_HOST


def test_a_common_name_of_a_proxy(watch, serve, root, tmp_path):
    """An HTTPS proxy needs names too: on the first check, on later ones, and for any answer."""
    context = issue("localhost", "localhost", by=root).context(tmp_path)
    moved = answer(status="302 Found", headers=(("Location", "/new"),))
    proxy = serve(lambda number: answer() if number != 4 else moved, tls=context)
    http = HttpOptions(proxy=proxy.url(host="localhost"))
    tls = TlsOptions(ca_file=root.file(tmp_path / "ca"))
    look = watch("http://shop.example/", http=http, tls=tls)
    assert [look().failure for _ in range(3)] == [None] * 3
    issue("localhost", by=root).serve_by(context, tmp_path)
    for again in (look, look, watch("https://shop.example/", http=http, tls=tls)):
        seen = again()
        assert seen.failure.reason is Reason.PROXY_ERROR
        assert "its certificate has no subject alternative name" in seen.failure.message
        assert seen.tls is None
    careless = TlsOptions(verify=False)
    assert watch("http://shop.example/", http=http, tls=careless)().failure is None


def test_a_proxys_certificate_is_not_the_sites(check, serve, root, tmp_path):
    """If the site behind an HTTPS proxy makes no handshake, the check reports no certificate."""
    context = issue("proxy", "localhost", by=root).context(tmp_path)
    proxy = serve([read_request, b"HTTP/1.1 200 OK\r\n\r\n", b"no TLS here"], tls=context)
    seen = check(
        "https://shop.example/",
        http=HttpOptions(proxy=proxy.url(host="localhost")),
        tls=TlsOptions(ca_file=root.file(tmp_path / "ca")),
    )
    assert seen.failure.reason is Reason.TLS_PROTOCOL
    assert seen.tls is None


def test_a_common_name_behind_a_proxy(check, serve, root, tmp_path):
    """A site's certificate without names is the site's fault, not the proxy's."""
    context = issue("localhost", by=root).context(tmp_path)
    proxy = serve(talk(read_request, b"HTTP/1.1 200 OK\r\n\r\n", context, *answer()))
    seen = check(
        "https://localhost:4433/",
        http=HttpOptions(proxy=proxy.url()),
        tls=TlsOptions(ca_file=root.file(tmp_path / "ca")),
    )
    assert seen.failure.reason is Reason.TLS_WRONG_HOST


@pytest.mark.parametrize(
    ("names", "host", "hint"),
    [
        (
            ["DNS:127.0.0.1"],
            "127.0.0.1",
            (
                "certificate for DNS:127.0.0.1 does not cover 127.0.0.1, because it names the "
                "address as a DNS name; it must be an IP address there"
            ),
        ),
        (
            ["*.internal"],
            "db.internal",
            (
                "certificate for *.internal does not cover db.internal, because at least two "
                "labels must follow the star of *.internal"
            ),
        ),
        (
            ["*.corp.example"],
            "corp.example",
            (
                "certificate for *.corp.example does not cover corp.example, because "
                "*.corp.example stands for names below corp.example alone"
            ),
        ),
        (
            ["*.corp.example"],
            "a.b.corp.example",
            (
                "certificate for *.corp.example does not cover a.b.corp.example, because the star "
                "of *.corp.example stands for one label alone"
            ),
        ),
        (["a.example"], "b.example", "certificate for a.example does not cover b.example"),
    ],
    ids=["address", "one label", "itself", "two below", "another"],
)
@pytest.mark.parametrize("door", ["https", "starttls"])
def test_a_name_that_looks_right(look, root, tmp_path, door, names, host, hint):
    """The message says why a name that resembles the host does not cover it."""
    context = issue("x", *names, by=root).context(tmp_path)
    _, verdict = look(door, context, [root], server_name=host)
    assert (verdict.reason, verdict.message) == (Reason.TLS_WRONG_HOST, hint)


@doors
def test_a_self_issued_certificate_has_its_true_cause(look, tmp_path, door):
    """A trusted certificate that is refused for its weak key is not called self-signed."""
    device = issue("old-device", "localhost", key=weak_key())
    context = device.context(tmp_path, weak=True)
    _, verdict = look(door, context, [device])
    assert verdict.reason is Reason.TLS_UNTRUSTED
    hint = "" if door == "grpcs" else "; tls.legacy: true lets it pass"
    assert verdict.message == (
        f"certificate of localhost is not trusted: its key is too weak{hint}"
    )
    if door != "grpcs":
        seen, _ = look(door, context, [device], legacy=True)
        assert (seen.tls.verified, seen.tls.legacy) == (True, True)


def test_why_a_chain_is_refused(look, root, tmp_path):
    """Each refusal names its cause and the certificate that causes it."""
    weak = issue("Weak Root", authority=True, key=weak_key())
    none = issue("No Authority", by=root)
    limit = x509.NameConstraints([x509.DNSName("corp.example")], None)
    never = x509.NameConstraints(None, [x509.DNSName("localhost")])
    inner = issue("Issuing", by=root, authority=True)
    for identity, trusted, message in (
        (
            issue("a", "localhost", by=weak),
            weak,
            (
                "certificate of localhost is not trusted: the key of an authority in its chain is "
                "too weak; tls.legacy: true lets it pass"
            ),
        ),
        (
            issue("a", "localhost", by=root, extensions=[CLIENTS_ONLY]),
            root,
            (
                "certificate of localhost is not trusted: it is not meant for servers (extended "
                "key usage)"
            ),
        ),
        (
            issue("a", "localhost", by=none),
            root,
            (
                "certificate of localhost is not trusted: an issuer in its chain is not an "
                "authority (CA:TRUE is missing)"
            ),
        ),
        *(
            (
                issue("a", "localhost", by=issue("Corp", by=root, authority=True, extensions=[of])),
                root,
                (
                    "certificate for localhost is outside the names for which the authority "
                    "CN=Corp may issue"
                ),
            )
            for of in (limit, never)
        ),
        (
            issue("a", "localhost", by=inner, sends=False),
            root,
            (
                "certificate for localhost is issued by CN=Issuing, which is not trusted; "
                "does the server send its intermediates?"
            ),
        ),
        (
            issue("a", "localhost", by=inner),
            weak,
            "certificate of the authority CN=Issuing is issued by CN=Root, which is not trusted",
        ),
        (issue("Me", "localhost"), root, "certificate for localhost is self-signed by CN=Me"),
    ):
        _, verdict = look("tls", identity.context(tmp_path, weak=True), [trusted])
        assert verdict.reason is Reason.TLS_UNTRUSTED
        assert verdict.message == message


# ---------------------------------------------------------------- our own certificate


def _demanding(identity, root, folder, version):
    context = identity.context(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=root.pem)
    context.maximum_version = version
    return context


@doors
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("verify", [True, False])
def test_our_own_certificate_has_expired(look, root, tmp_path, door, version, verify):
    """Our expired certificate is not blamed on the server's, by any probe or TLS version."""
    if door == "grpcs" and not verify:
        pytest.skip("gRPC always verifies")
    if door in ("tls", "starttls", "tcp") and version is ssl.TLSVersion.TLSv1_3:
        pytest.skip("in TLS 1.3 a handshake is over before a server looks at our certificate")
    context = _demanding(issue("s", "localhost", by=root), root, tmp_path, version)
    ours = issue("client", by=root, ends=-DAY).file(tmp_path / "client.pem")
    tls = {"verify": verify} if not verify else {}
    context.set_alpn_protocols(["h2", "http/1.1"])  # gRPC stops without it
    seen, verdict = look(door, context, [root], cert_file=ours, **tls)
    assert verdict.reason is Reason.TLS_CLIENT_CERTIFICATE, verdict
    assert "did not accept our client certificate" in verdict.message
    assert len(seen.tls.client) == 1
    assert "PRIVATE" not in "".join(seen.tls.client)


def test_our_own_certificate_ends_in_mid_course(watch, serve, root, tmp_path):
    """A silent, repeated check reports our expired certificate as the first check does."""
    server_context = _demanding(
        issue("s", "localhost", by=root), root, tmp_path, ssl.TLSVersion.TLSv1_2
    )
    server = serve(answer(), tls=server_context)
    ours = tmp_path / "client.pem"
    tls = TlsOptions(
        ca_file=root.file(tmp_path / "ca"), cert_file=issue("client", by=root).file(ours)
    )
    look = watch(server.url(host="localhost"), tls=tls)
    assert [look().failure for _ in range(3)] == [None] * 3
    issue("client", by=root, ends=-DAY).file(ours)
    assert look().failure.reason is Reason.TLS_CLIENT_CERTIFICATE


# ---------------------------------------------------------------- what old devices speak


@pytest.mark.parametrize("door", ["https", "tls", "starttls", "wss"])
def test_tls_below_1_2_is_asked_for_by_two_options(look, root, tmp_path, door):
    """min_version alone does not lower the security level, and the message names what does."""
    context = issue("s", "localhost", by=root).context(tmp_path, weak=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    _, verdict = look(door, context, [root], min_version="1.0")
    assert verdict.reason is Reason.TLS_PROTOCOL
    assert 'tls.legacy: true with tls.min_version: "1.0" offers older versions' in verdict.message
    seen, _ = look(door, context, [root], min_version="1.0", legacy=True)
    assert (seen.tls.version, seen.tls.legacy) == ("TLS 1.1", True)


def test_min_version_keeps_weak_keys_out(look, tmp_path):
    """A weak key is refused even if min_version allows old TLS versions."""
    device = issue("device", "localhost", key=weak_key())
    _, verdict = look("tls", device.context(tmp_path, weak=True), [device], min_version="1.0")
    assert verdict.reason is Reason.TLS_UNTRUSTED


# ---------------------------------------------------------------- how long a chain holds


def _ends(seen):
    """Return in how many days the first certificate of the trusted chain ends."""
    validity = known(judge(Job(observation=seen)).validity)
    return round((validity[1] - seen.time) / DAY.total_seconds())


def _sends(identity, *others):
    """Return the identity with these certificates as what its server sends besides its own."""
    return replace(identity, above=tuple(one.certificate for one in others))


def test_what_is_sent_beyond_the_trusted_chain_ends_nothing(look, root, tmp_path):
    """A chain is valid until the first certificate it needs ends, the authority's own included."""
    old = issue("Old Root", authority=True)
    cross = issue("Root", by=old, authority=True, key=root.key, ends=3 * DAY)
    inner = issue("Inner", by=root, authority=True, ends=60 * DAY)
    unneeded = issue("Inner", by=old, authority=True, key=inner.key, ends=2 * DAY)
    short = issue("Root", authority=True, key=root.key, ends=20 * DAY)
    by_root = issue("x", "localhost", by=root, ends=80 * DAY)
    by_inner = issue("x", "localhost", by=inner, ends=80 * DAY)
    for server, trusted, days in (
        (by_root, [root], 80),
        (_sends(by_root, cross), [root], 80),
        (_sends(by_root, cross, old), [root], 80),
        (_sends(by_root, cross), [old], 3),  # here it is needed
        (by_inner, [root], 60),
        (_sends(by_inner, inner, unneeded), [root], 60),
        (_sends(by_inner, inner), [inner], 60),  # an authority that is not a root
        (_sends(by_root, cross), [by_root], 80),  # the server's own certificate
        (by_root, [short, root], 80),  # of two with one name and key, the one that ends later
        (by_root, [short], 20),
        (issue("own", "localhost", ends=9 * DAY), None, 9),
    ):
        shown, verdict = look(
            "tls", server.context(tmp_path), [server] if trusted is None else trusted
        )
        assert (verdict.up, _ends(shown)) == (True, days), (verdict, days)


def test_a_chain_of_a_weak_authority_is_followed(look, tmp_path):
    """A chain that only tls.legacy accepts has an expiry as well."""
    weak = issue("Weak", authority=True, key=weak_key(), ends=30 * DAY)
    server = issue("x", "localhost", by=weak, ends=80 * DAY)
    seen, _ = look("tls", server.context(tmp_path, weak=True), [weak], legacy=True)
    assert _ends(seen) == 30


def test_without_verification_all_that_was_sent_counts(look, root, tmp_path):
    """Without verification, every certificate sent counts: nothing says which ones are needed."""
    cross = issue("Other", by=root, authority=True, ends=3 * DAY)
    server = _sends(issue("x", "localhost", by=root), cross)
    seen, _ = look("tls", server.context(tmp_path), [root], verify=False)
    assert _ends(seen) == 3


def test_a_file_of_authorities_that_changes(look, root, tmp_path):
    """If the changed file gives no chain any more, the valid certificates that were sent count."""
    seen, _ = look("tls", issue("x", "localhost", by=root).context(tmp_path), [root])
    (tmp_path / "trusted.pem").write_text("")
    assert _ends(seen) == 90
    (tmp_path / "trusted.pem").unlink()
    assert _ends(seen) == 90


def test_a_hop_must_be_valid_as_long(check, serve, root, tmp_path):
    """valid_for applies to a redirect's certificate too; the series show the last certificate."""
    tls = TlsOptions(ca_file=root.file(tmp_path / "ca"))
    soon, late = issue("x", "localhost", by=root, ends=2 * DAY), issue("x", "localhost", by=root)
    end = serve(answer(), tls=late.context(tmp_path))
    to = (("Location", end.url(host="localhost")),)
    begin = serve(answer(status="302 Found", headers=to), tls=soon.context(tmp_path))
    seen = check(begin.url(host="localhost"), tls=tls)
    for written, days, up in (("14d", 90, False), ("30%", 90, False), ("15%", 90, True)):
        rule = parse_certificate({"valid_for": written})
        analysis = judge(Job(observation=seen, expect=(("certificate", rule),)))
        assert (analysis.verdict.up, _ends(seen)) == (up, days), analysis.verdict


def test_a_lifetime_in_cel(look, root, tmp_path):
    """A CEL expression sees when a certificate begins and how long it lasts."""
    server = issue("x", "localhost", by=root, begins=-DAY, ends=5 * DAY)
    seen, _ = look("tls", server.context(tmp_path), [root])
    for text, up in (
        ("certificate.lifetime_days > 5.9 && certificate.lifetime_days < 6.1", True),
        ("certificate.days_left / certificate.lifetime_days > 0.33", True),
        ("certificate.days_left / certificate.lifetime_days > 0.9", False),
        ("certificate.not_before < certificate.not_after", True),
        ("certificate.not_before > timestamp('2038-01-01T00:00:00Z')", False),
    ):
        analysis = judge(Job(observation=seen, expect=(("that", decoded("that", text)),)))
        assert analysis.verdict.up is up, (text, analysis.verdict)


# ---------------------------------------------------------------- files of the list


def _encrypted(identity):
    password = BestAvailableEncryption(b"secret")
    return identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password)


def test_files_that_cannot_be_used_are_mistakes_of_the_list(tmp_path, root):
    """A file that cannot be used is reported once, at its line, and not by each check."""
    ours, others = issue("ours", by=root), issue("others", by=root)
    texts = {
        "words": b"no certificate",
        "empty": b"",
        "cert": ours.chain(),
        "key": ours.private(),
        "both": ours.chain() + ours.private(),
        "reversed": ours.private() + ours.chain(),
        "other": others.private(),
        "locked": _encrypted(ours),
        "damaged": ours.chain()[:200] + b"\n-----END CERTIFICATE-----\n" + ours.private(),
    }
    paths = {name: str(tmp_path / f"{name}.pem") for name in texts}
    for name, text in texts.items():
        (tmp_path / f"{name}.pem").write_bytes(text)
    for files, key, message in (
        ({"ca_file": "words"}, "ca_file", "{words} holds no certificate in PEM form"),
        ({"ca_file": "empty"}, "ca_file", "{empty} holds no certificate in PEM form"),
        ({"ca_file": "key"}, "ca_file", "{key} holds no certificate in PEM form"),
        ({"cert_file": "words"}, "cert_file", "{words} holds no certificate in PEM form"),
        ({"cert_file": "key"}, "cert_file", "{key} holds no certificate in PEM form"),
        (
            {"cert_file": "cert"},
            "cert_file",
            "{cert} holds no private key in PEM form; name the file that does by key_file",
        ),
        (
            {"cert_file": "cert", "key_file": "words"},
            "key_file",
            "{words} holds no private key in PEM form",
        ),
        (
            {"cert_file": "cert", "key_file": "other"},
            "key_file",
            "{other} holds the key of another certificate than that of {cert}",
        ),
        (
            {"cert_file": "cert", "key_file": "locked"},
            "key_file",
            "{locked} holds an encrypted key; write it without a password",
        ),
        (
            {"cert_file": "damaged"},
            "cert_file",
            "{damaged} and its key cannot be used: they are damaged",
        ),
    ):
        for url in ("https://a.example", "tls://a.example:1", "wss://a.example", "grpcs://a.b:1"):
            with pytest.raises(ConfigError) as raised:
                site_of(url, tls={name: paths[of] for name, of in files.items()})
            (problem,) = raised.value.problems
            assert problem.message == f"sites[0].tls: {key} {message.format(**paths)}"
            assert problem.line == 1
    for good in (
        {"ca_file": "cert"},
        {"cert_file": "both"},
        {"cert_file": "reversed"},
        {"cert_file": "cert", "key_file": "key"},
    ):
        site_of("https://a.example", tls={name: paths[of] for name, of in good.items()})
