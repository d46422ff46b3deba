"""Servers, certificates and sites for the tests of all probes."""

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from monitor.app.tables import TABLES
from monitor.clock import SystemClock
from monitor.config.load import load as load_files
from monitor.model import Observation, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.libcurl.handles import Handles
from monitor.probes.observe import Observer
from tests.probes.servers import ScriptedServer, Step

Serve = Callable[..., ScriptedServer]
Check = Callable[..., Observation]
Watch = Callable[..., Callable[[], Observation]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a ScriptedServer; all of them end with the test."""
    servers: list[ScriptedServer] = []

    def start(script: Sequence[Step] | Callable[[int], Sequence[Step]], **kwargs) -> ScriptedServer:
        servers.append(ScriptedServer(script, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def load(tmp_path):
    """Return a function that loads a list of one site with the real probes."""

    def run(site, **more):
        file = tmp_path / "sites.yaml"
        file.write_text(json.dumps({"sites": [site], **more}))  # JSON is YAML
        return load_files(file, TABLES, {})

    return run


class Authority:
    """A certificate authority of our own, with every bad certificate there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def context(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names, by default for loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = names or ("localhost", "127.0.0.1", "::1")
        certificate = self._ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        certificate.configure_cert(context)
        return context

    def expired(self) -> ssl.SSLContext:
        return self.context(
            not_before=datetime(2019, 1, 1, tzinfo=UTC),
            not_after=datetime(2020, 1, 2, tzinfo=UTC),
        )

    def not_yet_valid(self) -> ssl.SSLContext:
        return self.context(not_before=datetime(2990, 1, 2, tzinfo=UTC))

    def self_signed(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2990, 1, 1, tzinfo=UTC))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return _context(
            trustme.Blob(certificate.public_bytes(Encoding.PEM)),
            trustme.Blob(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        )

    def unknown_issuer(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        return context

    def without_intermediate(self) -> ssl.SSLContext:
        leaf = self._ca.create_child_ca().issue_cert("localhost")
        return _context(leaf.cert_chain_pems[0], leaf.private_key_pem)

    def server_files(self, *names: str) -> tuple[str, str]:
        """Return the paths of a server's certificate and key, for other programs' servers."""
        server = self._ca.issue_cert(*names)
        paths = self._folder / "server.pem", self._folder / "server.key"
        server.cert_chain_pems[0].write_to_path(paths[0])
        server.private_key_pem.write_to_path(paths[1])
        return str(paths[0]), str(paths[1])

    def client_files(self) -> tuple[str, str]:
        """Return the paths of a client's certificate and key."""
        client = self._ca.issue_cert("monitor@example.org")
        paths = self._folder / "client.pem", self._folder / "client.key"
        client.cert_chain_pems[0].write_to_path(paths[0])
        client.private_key_pem.write_to_path(paths[1])
        return str(paths[0]), str(paths[1])

    def demand_client(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.file)
        return context


def _context(certificate: trustme.Blob, key: trustme.Blob) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with certificate.tempfile() as certificate_file, key.tempfile() as key_file:
        context.load_cert_chain(certificate_file, key_file)
    return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def handles() -> Iterator[Handles]:
    """Return handles that are closed at the end of the test."""
    handles = Handles()
    yield handles
    handles.close()


@pytest.fixture
def watch(handles, authority) -> Watch:
    """
    Return a function that returns another one, which checks one site each time it is called.

    Its keywords are the sections of the site (``http``, ``tls``, ``network``) and its fields. The
    test's authority is trusted.
    """
    observe = Observer({name: HttpProbe(handles) for name in ("http", "https")}, SystemClock())

    def start(
        url: str,
        *,
        http: HttpOptions | None = None,
        tls: TlsOptions | None = None,
        network: NetworkOptions | None = None,
        timeout: float = 5.0,
        **fields,
    ) -> Callable[[], Observation]:
        sections = (
            http or HttpOptions(),
            tls or TlsOptions(ca_file=authority.file),
            network or NetworkOptions(),
        )
        scheme = url.partition(":")[0]
        site = Site(
            name="site",
            url=url,
            target=url,
            scheme=scheme,
            timeout=timeout,
            options=sections,
            **fields,
        )
        return lambda: observe(site)

    return start


@pytest.fixture
def check(watch) -> Check:
    """Return a function that checks a URL once; it takes the same keywords as ``watch``."""
    return lambda url, **sections: watch(url, **sections)()
