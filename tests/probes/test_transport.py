"""The transport by itself: TLS, name look-up, routes, handles; real sockets, loopback."""

import gc
import gzip
import os
import pwd
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import brotli
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
import pycurl
import pytest
import trustme
from dns.rcode import Rcode

from monitor.clock import Deadline, SystemClock
from monitor.errors import ProbeError
from monitor.model import Failure, HttpAnswer, Phase, Reason, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.ciphers import iana_name
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.name_servers import ask_again
from monitor.probes.resolve import Resolver
from tests.fakes import FakeClock
from tests.narrowing import answer_of
from tests.probes.servers import answer, reset, stay_silent

SHORT = 0.6

# name: the authority's method, host of the URL, reason, message
UNTRUSTED = {
    "expired": (
        "expired",
        "localhost",
        "tls_expired",
        "a certificate of localhost has expired on 2020-01-02",
    ),
    "not yet valid": (
        "not_yet_valid",
        "localhost",
        "tls_not_yet_valid",
        "a certificate of localhost is not valid before 2990-01-02",
    ),
    "wrong host": (
        "context",
        "127.0.0.2",
        "tls_wrong_host",
        "certificate for localhost, 127.0.0.1, 0:0:0:0:0:0:0:1 does not cover 127.0.0.2",
    ),
    "self-signed": (
        "self_signed",
        "localhost",
        "tls_untrusted",
        "certificate of localhost is not trusted: it is self-signed",
    ),
    "unknown issuer": (
        "unknown_issuer",
        "localhost",
        "tls_untrusted",
        "certificate of localhost is not trusted: its issuer is not known",
    ),
    "incomplete chain": (
        "without_intermediate",
        "localhost",
        "tls_untrusted",
        "certificate of localhost is not trusted: its issuer is not known",
    ),
}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_a_bad_certificate_has_its_reason_and_is_handed_over(serve, check, authority, name):
    """The reason for refusing a certificate is exact, and its chain is still kept."""
    method, host, reason, message = UNTRUSTED[name]
    server = serve(answer(), tls=getattr(authority, method)(), host="0.0.0.0")
    seen = check(server.url(host=host))
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.message[: len(message)]) == (reason, message)
    assert seen.tls.verified is False
    assert seen.tls.chain[0].startswith("-----BEGIN CERTIFICATE-----")
    assert seen.answer is None
    assert server.requests == []
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS]


def test_a_good_handshake_says_what_was_agreed(serve, check, authority):
    """A verified connection reports its version, cipher, chain and TLS phase."""
    seen = check(serve(answer(), tls=authority.context()).url())
    assert seen.failure is None
    assert seen.tls.verified is True
    assert seen.tls.version == "TLS 1.3"
    assert seen.tls.cipher.startswith("TLS_")
    assert len(seen.tls.chain) == 1
    assert list(seen.phases) == [
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.TLS,
        Phase.PROCESSING,
        Phase.TRANSFER,
    ]


def test_without_verification_anyone_may_answer(serve, check, authority):
    """With verify: false the check succeeds, reports no trust, and still has the chain."""
    seen = check(serve(answer(), tls=authority.expired()).url(), tls=TlsOptions(verify=False))
    assert seen.failure is None
    assert seen.answer.status == 200
    assert seen.tls.verified is None
    assert len(seen.tls.chain) == 1


def test_the_systems_authorities_do_not_trust_ours(serve, check, authority):
    """Without a ca_file the system's authorities decide."""
    seen = check(serve(answer(), tls=authority.context()).url(), tls=TlsOptions())
    assert seen.failure.reason is Reason.TLS_UNTRUSTED


def test_a_thousand_names_are_shortened(serve, check, authority):
    """A certificate with a thousand names gives one short sentence."""
    names = [f"host{number}.example.com" for number in range(1000)]
    seen = check(serve(answer(), tls=authority.context(*names)).url(host="localhost"))
    assert seen.failure.message == (
        "certificate for host0.example.com, host1.example.com, host2.example.com and 997 more"
        " does not cover localhost"
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_may_demand_a_client_certificate(serve, check, authority, version):
    """Without a client certificate the reason says so; with it the check succeeds."""
    context = authority.demand_client(authority.context())
    context.minimum_version = context.maximum_version = version
    server = serve(answer(), tls=context)
    refused = check(server.url())
    assert refused.failure.reason is Reason.TLS_CLIENT_CERTIFICATE
    assert "client certificate" in refused.failure.message

    cert, key = authority.client_files()
    options = TlsOptions(ca_file=authority.file, cert_file=cert, key_file=key)
    assert check(server.url(), tls=options).failure is None


def test_a_client_certificate_that_cannot_be_read_is_our_own_fault(serve, check, authority):
    """A broken client certificate says nothing about the site."""
    tls = TlsOptions(ca_file=authority.file, cert_file=authority.file)
    with pytest.raises(ProbeError, match="private key"):
        check(serve(answer(), tls=authority.context()).url(), tls=tls)


def test_authorities_that_cannot_be_read_are_our_own_fault(serve, check, authority, tmp_path):
    """A missing file of authorities says nothing about the site."""
    tls = TlsOptions(ca_file=str(tmp_path / "gone.pem"))
    with pytest.raises(ProbeError, match=r"cannot read the authorities in .*gone\.pem"):
        check(serve(answer(), tls=authority.context()).url(), tls=tls)


def test_changed_authorities_are_read_again(serve, check, authority, tmp_path):
    """A replaced authorities file is used from the next check on."""
    file = tmp_path / "ca.pem"
    url = serve(answer(), tls=authority.context()).url()
    tls = TlsOptions(ca_file=str(file))
    trustme.CA().cert_pem.write_to_path(file)
    assert check(url, tls=tls).failure.reason is Reason.TLS_UNTRUSTED
    file.write_bytes(Path(authority.file).read_bytes())
    os.utime(file, ns=(1, 1))  # however coarse the file system's clock is
    assert check(url, tls=tls).failure is None


@pytest.mark.parametrize(
    ("script", "reason", "part"),
    [
        ([stay_silent], "tls_timeout", "no TLS handshake with 127.0.0.1:"),
        ([b"220 mail.example.com ESMTP\r\n", 1.0], "tls_protocol", "does not speak TLS"),
        ([0.05, reset], "connect_reset", "reset the connection"),
    ],
    ids=["stalls", "speaks plain text", "resets"],
)
def test_a_port_that_does_not_do_tls(serve, check, script, reason, part):
    """Each obstacle to the handshake has its reason."""
    url = serve(script).url().replace("http:", "https:")
    seen = check(url, timeout=SHORT)
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure
    assert Phase.PROCESSING not in seen.phases
    assert seen.tls is None


@pytest.mark.parametrize(
    ("server_version", "options", "reason"),
    [
        (ssl.TLSVersion.TLSv1_2, {"min_version": "1.3"}, Reason.TLS_PROTOCOL),
        (ssl.TLSVersion.TLSv1_3, {"max_version": "1.2"}, Reason.TLS_PROTOCOL),
        (ssl.TLSVersion.TLSv1_2, {"max_version": "1.2"}, None),
        (ssl.TLSVersion.TLSv1_2, {"min_version": "1.0"}, None),
    ],
)
def test_tls_versions_are_limited(serve, check, authority, server_version, options, reason):
    """A server outside the allowed versions fails with the reason tls_protocol."""
    context = authority.context()
    context.minimum_version = context.maximum_version = server_version
    seen = check(
        serve(answer(), tls=context).url(), tls=TlsOptions(ca_file=authority.file, **options)
    )
    assert (seen.failure.reason if seen.failure else None) == reason, seen.failure
    if not reason:
        assert seen.tls.version == "TLS 1.2"
        assert "_WITH_" in seen.tls.cipher


def test_server_name_replaces_the_name_that_is_asked_for_and_verified(serve, check, authority):
    """SNI and verification use server_name, and the request keeps the URL's host."""
    context = authority.context("inner.example.org")
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = serve(answer(), tls=context)
    tls = TlsOptions(ca_file=authority.file, server_name="inner.example.org")
    seen = check(server.url(), tls=tls)
    assert seen.failure is None
    assert names == ["inner.example.org"]
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in server.requests[0]
    assert seen.answer.url == server.url()


def test_connect_to_keeps_the_name(serve, check, authority):
    """connect_to changes the address of the connection, not the requested host."""
    server = serve(answer(), tls=authority.context("shop.example.org"))
    network = NetworkOptions(connect_to=f"127.0.0.1:{server.port}")
    seen = check("https://shop.example.org/", network=network)
    assert seen.failure is None
    assert b"Host: shop.example.org\r\n" in server.requests[0]
    assert seen.address == "127.0.0.1"


def test_source_address_is_where_the_connection_comes_from(serve, check):
    """The connection leaves from source_address; one that is not ours is the monitor's fault."""
    server = serve(answer())
    check(server.url(), network=NetworkOptions(source_address="127.0.0.9"))
    assert server.peers == ["127.0.0.9"]
    with pytest.raises(ProbeError, match=r"cannot send from 192\.0\.2\.9"):
        check(server.url(), network=NetworkOptions(source_address="192.0.2.9"))


def test_the_ip_version_can_be_chosen(serve, check):
    """A name with addresses of both versions is reached by the required one."""
    server = serve(answer(), host="::1")
    assert check(server.url()).address == "::1"
    refused = check(server.url(host="localhost"), network=NetworkOptions(ip="4"))
    assert refused.failure.reason is Reason.CONNECT_REFUSED
    assert refused.address == "127.0.0.1"


def test_a_link_local_address_is_unreachable_where_nobody_has_it(serve, check):
    """The reported address has no zone, and any redirect may lead to such an address."""
    there = "http://[fe80::1%25lo]:81/"  # the zone keeps it on loopback
    for url in (there, serve(answer(status="302 Found", headers=[("Location", there)])).url()):
        seen = check(url, timeout=SHORT)
        assert seen.failure.reason is Reason.CONNECT_UNREACHABLE
        assert seen.failure.message.startswith("[fe80::1]:81 is unreachable")
        assert seen.address == "fe80::1"


# ---------------------------------------------------------------- idle handles


class _Noting(Handles):
    """Handles that record each transfer's receive buffer; None is libcurl's own size."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[int | None] = []

    def lend(self, route, deadline, options=()):
        self.buffers.append(dict(options).get(pycurl.BUFFERSIZE))
        return super().lend(route, deadline, options)


def test_only_a_check_that_expects_an_answer_has_a_large_buffer(serve):
    """A site that failed last time, or was never checked, waits with a small buffer."""
    body = bytes(100_000)
    server = serve(lambda number: [reset] if number == 2 else answer(body))
    handles = _Noting()
    probe = HttpProbe(handles)
    options = (HttpOptions(max_body=2 * 1024**2), TlsOptions(), NetworkOptions())  # never silent
    site = Site(
        name="s", url=server.url(), target=server.url(), scheme="http", timeout=5.0, options=options
    )
    seen = [probe(site, Deadline.after(5.0, SystemClock())) for _ in range(5)]
    handles.close()
    assert handles.buffers == [1024, None, None, 1024, None]
    sizes = [one.answer and answer_of(one, HttpAnswer).body_size for one in seen]
    assert sizes == [100_000, 100_000, None, 100_000, 100_000]


def test_handles_that_nobody_needs_for_a_minute_are_closed(authority, tmp_path):
    """The last handle of a CA file that no site names any more is closed too."""
    handles, clock = Handles(), FakeClock()
    before = _curl_handles()

    def lend(number: int, together: int = 1) -> None:
        file = tmp_path / f"{number}.pem"
        file.write_bytes(Path(authority.file).read_bytes())
        route = Route("https", "127.0.0.1", 1, TlsOptions(ca_file=str(file)), NetworkOptions())
        with ExitStack() as stack:
            for _ in range(together):
                stack.enter_context(handles.lend(route, Deadline.after(SHORT, clock)))

    for number in range(20):
        lend(number, together=3)
    assert _curl_handles() == before + 60
    clock.advance(61)
    for _ in range(80):
        lend(0)
    assert _curl_handles() == before + 1
    handles.close()
    assert _curl_handles() == before


def _curl_handles() -> int:
    gc.collect()  # what other tests left
    return sum(isinstance(one, pycurl.Curl) for one in gc.get_objects())


# ---------------------------------------------------------------- name look-up


class NameServer:
    """A DNS server on loopback that gives every question the same answer, or none."""

    def __init__(self, rcode: Rcode | None, address: str | None = None) -> None:
        self._rcode, self._address = rcode, address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            if not question:
                return
            if self._rcode is None:
                continue
            answer = dns.message.make_response(dns.message.from_wire(question))
            answer.set_rcode(self._rcode)
            name, kind = answer.question[0].name, answer.question[0].rdtype
            if self._address and kind == dns.rdatatype.A:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", self._address))
            self._socket.sendto(answer.to_wire(), client)

    def resolver(self) -> Resolver:
        def client() -> dns.resolver.Resolver:
            resolver = dns.resolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
            return resolver

        return Resolver(ask_again=partial(ask_again, client=client))

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@pytest.mark.parametrize(
    ("rcode", "address", "reason", "message"),
    [
        (Rcode.NXDOMAIN, None, "dns_not_found", "the name shop.invalid does not exist"),
        (Rcode.NOERROR, None, "dns_not_found", "shop.invalid has no address"),
        (Rcode.SERVFAIL, None, "dns_error", "the look-up of shop.invalid failed: SERVFAIL"),
        (Rcode.REFUSED, None, "dns_error", "the look-up of shop.invalid failed: REFUSED"),
        (
            Rcode.NOERROR,
            "127.0.0.1",
            "dns_error",
            "the look-up of shop.invalid failed once, but not again",
        ),
        (None, None, "dns_timeout", "no answer to the look-up of shop.invalid within 600ms"),
    ],
    ids=["no such name", "no address", "broken", "refusing", "recovered", "silent"],
)
def test_a_failed_look_up_has_its_reason(rcode, address, reason, message):
    """The name servers' reply tells a missing name from a broken or silent resolver."""
    server = NameServer(rcode, address)
    handles = Handles(server.resolver())
    site = Site(
        name="shop",
        url="http://shop.invalid/",
        target="http://shop.invalid/",
        scheme="http",
        options=(HttpOptions(), TlsOptions(), NetworkOptions()),
    )
    try:
        seen = HttpProbe(handles)(site, Deadline.after(SHORT, SystemClock()))
    finally:
        server.close()
        handles.close()
    assert seen.failure == Failure(Reason(reason), message)
    assert list(seen.phases) == [Phase.RESOLVE]
    assert (seen.address, seen.answer) == (None, None)


def test_names_that_cannot_be_names_do_not_exist():
    """A label of 64 characters is refused without a query."""
    deadline = Deadline.after(SHORT, SystemClock())
    asking = partial(ask_again, client=lambda: dns.resolver.Resolver(configure=False))
    failure = Resolver(ask_again=asking).why_not("x" * 64, deadline)
    assert failure == Failure(Reason.DNS_NOT_FOUND, f"{'x' * 64} is not a valid name")


def test_a_resolver_finds_addresses_like_the_system():
    """Addresses stay unchanged, and names in the hosts file are found too."""
    deadline = Deadline.after(5, SystemClock())
    assert Resolver().resolve("192.0.2.1", deadline) == "192.0.2.1"
    assert Resolver().resolve("localhost", deadline, "4") == "127.0.0.1"


def test_a_hanging_look_up_is_left_behind():
    """A resolver that never answers costs at most the deadline, and a bounded number of threads."""
    release = threading.Event()

    def hang(*_args):
        release.wait()
        raise OSError

    started = time.monotonic()
    found = Resolver(getaddrinfo=hang).resolve("x", Deadline.after(0.2, SystemClock()))
    assert time.monotonic() - started < 5
    release.set()
    assert found == Failure(Reason.DNS_TIMEOUT, "no answer to the look-up of x within 200ms")


# ---------------------------------------------------------------- names of cipher suites


@pytest.mark.parametrize(
    ("name", "iana"),
    [
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        ("DHE-RSA-AES128-SHA", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
        ("ECDHE-ECDSA-AES256-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
        ("AES128-CCM", "TLS_RSA_WITH_AES_128_CCM"),
        ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        ("CAMELLIA128-SHA256", "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
        ("DHE-RSA-CAMELLIA256-SHA", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
        ("DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
        ("ECDHE-ARIA256-GCM-SHA384", "ECDHE-ARIA256-GCM-SHA384"),
    ],
)
def test_cipher_suites_have_their_iana_names(name, iana):
    """OpenSSL's short names become the registered ones; an unknown pattern stays the same."""
    assert iana_name(name) == iana


# ---------------------------------------------------------------- a real peer


@pytest.mark.real
def test_nginx_answers_in_http2(check, authority, real, tmp_path):
    """HTTP/2 is agreed on over TLS, and can be required or refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate, key = authority.server_files("localhost")
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; pid {tmp_path}/pid; error_log stderr crit; worker_processes 1;
        events {{}}
        http {{
          access_log off; client_body_temp_path {tmp_path}/body;
          proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/fastcgi;
          uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
          server {{
            listen 127.0.0.1:{port} ssl http2;
            ssl_certificate {certificate}; ssl_certificate_key {key};
            location / {{ return 200 "hello"; }}
          }}
        }}
        """
    )
    command = [real("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    url = f"https://localhost:{port}/"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as nginx:
        try:
            seen = _once_up(lambda: check(url, reads_body=True, http=HttpOptions(version="2")))
            refused = check(url, http=HttpOptions(version="1.1"))
        finally:
            nginx.terminate()
            nginx.communicate()
    assert seen.failure is None
    assert (seen.answer.version, seen.answer.body) == ("2", b"hello")
    assert seen.phases[Phase.TLS] > 0
    assert refused.answer.version == "1.1"


@pytest.mark.real
def test_nginx_sends_packed_bodies_in_http2(watch, authority, real, tmp_path):
    """HTTP/2 tells bodies cut short from those of several members or of no coding."""
    rows = b"".join(b"row %d of a report\n" % number for number in range(500))
    whole = gzip.compress(rows[:99]) + gzip.compress(rows[99:]) + b"\r\n"
    (tmp_path / "gzip").write_bytes(whole)
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "br").write_bytes(brotli.compress(rows)[:-9])
    (tmp_path / "UTF-8").write_bytes(rows)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate, key = authority.server_files("localhost")
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; pid {tmp_path}/pid; error_log stderr crit; worker_processes 1;
        user {pwd.getpwuid(os.getuid()).pw_name};
        events {{}}
        http {{
          access_log off; client_body_temp_path {tmp_path}/body;
          proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/fastcgi;
          uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
          server {{
            listen 127.0.0.1:{port} ssl http2; root {tmp_path};
            ssl_certificate {certificate}; ssl_certificate_key {key};
            location = /half {{ add_header Content-Encoding gzip; }}
            location / {{ add_header Content-Encoding $uri_name; }}
          }}
          map $uri $uri_name {{ ~^/(?<name>.*)$ $name; }}
        }}
        """
    )
    command = [real("nginx"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    found = {}
    with subprocess.Popen(command, stderr=subprocess.PIPE) as nginx:
        try:
            for path in ("gzip", "UTF-8", "half", "br"):
                url = f"https://localhost:{port}/{path}"
                check = watch(url, reads_body=True, http=HttpOptions(version="2"))
                _once_up(check)
                found[path] = check()
        finally:
            nginx.terminate()
            nginx.communicate()
    assert {path: found[path].answer.body == rows for path in ("gzip", "UTF-8")} == {
        "gzip": True,
        "UTF-8": True,
    }
    reasons = {path: seen.failure and seen.failure.reason for path, seen in found.items()}
    broken = Reason.DECODE_ERROR
    assert reasons == {"gzip": None, "UTF-8": None, "half": broken, "br": broken}
    assert found["gzip"].answer.version == "2"


def _once_up(ask):
    end = time.monotonic() + 10
    while True:
        seen = ask()
        started = not seen.failure or seen.failure.reason is not Reason.CONNECT_REFUSED
        if started or time.monotonic() > end:
            return seen
        time.sleep(0.05)
