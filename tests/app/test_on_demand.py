"""Checks that a client asks for: which ones start, and what the others are answered."""

from pathlib import Path
from queue import SimpleQueue

import pytest

from monitor.app.on_demand import LiveProbes
from monitor.app.tables import TABLES
from monitor.config.load import load_text
from monitor.engine.events import CheckRequested, Inbox
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.guard import GuardedNetwork
from monitor.probes.http import HttpOptions
from monitor.probes.registry import PROBES
from monitor.probes.tls import TlsProbeOptions
from monitor.web.probe import ProbeQuery, Refused
from tests.builders import up_result

CONFIG = """
probe_endpoint: {enabled: true, allow: ["*.example.com", 127.0.0.0/8, "::1"], concurrent: 2}
modules:
  short: {timeout: 2s}
  hosted: {http: {headers: {host: a.example.com}}}
  named: {url: "tls://{target}", tls: {server_name: b.example.com}}
  health: {url: "https://{target}/health?key=${KEY}"}
  mail: {url: "tls://{target}:993"}
  dns: {url: "dns://{target}/a.test"}
"""


class LiveChecks:
    """Live checks without an engine; what they would ask of it is in ``inbox``."""

    def __init__(self, text: str = CONFIG) -> None:
        self.config = load_text(text, TABLES, {"KEY": "s3cr3t"})
        self.inbox: Inbox = SimpleQueue()
        self.live = LiveProbes(lambda: self.config, self.inbox, PROBES)

    def start(self, target=None, **query):
        return self.live.start(ProbeQuery(target=target, **query))

    def site(self, target=None, **query):
        check = self.start(target, **query)
        event = self.inbox.get_nowait()
        assert isinstance(event, CheckRequested)
        assert (event.site, event.reply) == (check.site, check.reply)
        return check.site

    def refusal(self, target=None, **query):
        with pytest.raises(Refused) as caught:
            self.start(target, **query)
        assert self.inbox.empty()
        return caught.value.status, caught.value.text


@pytest.fixture
def rig():
    return LiveChecks()


def section(site, record):
    return next(one for one in site.options if isinstance(one, record))


# ---------------------------------------------------------------- what is refused


def test_off():
    """Without probe_endpoint.enabled only listed sites are answered, whatever is asked for."""
    status, text = LiveChecks("sites: [https://a.example]").refusal(
        "http://127.0.0.1/", module="nope"
    )
    assert status == 404
    assert text.startswith("only listed sites are shown here, by /probe?site=NAME")


def test_a_module_that_was_left_out_says_why(tmp_path):
    """It is refused with the reason, by name or as the default, and no other replaces it."""
    (tmp_path / "blackbox.yml").write_text(
        "modules: {socket: {prober: unix}, http_2xx: {prober: http, http: {body_file: /nowhere}}}"
    )
    enabled = "probe_endpoint: {enabled: true, allow: [127.0.0.0/8]}\n"
    rig = LiveChecks(f"{enabled}blackbox_modules: {tmp_path}/blackbox.yml\n")
    assert rig.refusal("http://127.0.0.1/", module="socket") == (
        400,
        'Module "socket" is left out: Unix sockets cannot be checked',
    )
    status, text = rig.refusal("http://127.0.0.1/")
    assert status == 400
    assert text.startswith('Module "http_2xx" is left out: modules.http_2xx.http.body_file: there ')


def test_the_order_of_refusals(rig):
    """The module is checked first, then the header, then the target; the first error counts."""
    wrong = {"module": "nope", "scrape_timeout": "soon"}
    assert rig.refusal(None, **wrong) == (400, 'Unknown module "nope"')
    del wrong["module"]
    status, text = rig.refusal(None, **wrong)
    assert (status, text.partition(":")[0]) == (
        500,
        "Failed to parse timeout from Prometheus header",
    )
    assert rig.refusal(None) == (400, "Target parameter is missing")
    assert rig.refusal("") == (400, "Target parameter is missing")


@pytest.mark.parametrize(
    ("target", "module", "text"),
    [
        ("ftp://127.0.0.1/", None, "target unknown scheme 'ftp'"),
        ("http://127.0.0.1:99999/", None, "target the port '99999' must be a number"),
        ("tcp://127.0.0.1:1", "short", "target has the scheme tcp, and module 'short' is for http"),
        ("127.0.0.1", "tcp_connect", "target a tcp URL needs a host and a port"),
        ("a b", None, "target holds a space or a control character"),
        ("x\n", None, "target holds a space or a control character"),
        ("127.1", None, "target the host '127.1' is not an IPv4 address"),
        ("2130706433", None, "target the host '2130706433' is not an IPv4 address"),
        ("http://127.0.0.1\\@a.example.com/", None, "target holds a backslash"),
    ],
)
def test_a_target_that_is_none(rig, target, module, text):
    """The answer is 400, with what is wrong with the target."""
    status, said = rig.refusal(target, module=module)
    assert status == 400
    assert said.startswith(text)


@pytest.mark.parametrize(
    ("target", "module"),
    [
        ("http://10.0.0.1/", None),
        ("http://[::2]/", None),
        ("::2", "icmp"),
        ("http://example.com/", None),
        ("http://a.example.com.evil/", None),
        ("http://a.example.com:80@10.0.0.1/", None),
        ("0x7f000001", None),
        ("10.0.0.1:53", "dns"),
        ("10.0.0.1", "mail"),
    ],
)
def test_a_target_that_is_not_allowed(rig, target, module):
    """The answer is 403, and the engine is not asked."""
    status, text = rig.refusal(target, module=module)
    assert status == 403
    assert text.endswith("allowed by probe_endpoint.allow")


def test_credentials_are_not_repeated(rig):
    """No answer repeats what precedes the @ of a target."""
    for target in ("http://me:s3cr3t@10.0.0.1/", "http://me:s3cr3t@127.0.0.1:x/"):
        assert "s3cr3t" not in rig.refusal(target)[1]
    assert "s3cr3t" not in rig.site("http://me:s3cr3t@127.0.0.1/").target


def test_so_many_and_no_more(rig):
    """Beyond probe_endpoint.concurrent the answer is 503, until one check has been answered."""
    checks = [rig.start("127.0.0.1") for _ in range(2)]
    while not rig.inbox.empty():
        rig.inbox.get()
    status, text = rig.refusal("127.0.0.1")
    assert (status, text) == (
        503,
        "2 checks are under way, as many as probe_endpoint.concurrent allows",
    )
    checks[0].reply.set_result(up_result(checks[0].site))
    rig.start("127.0.0.1")


# ---------------------------------------------------------------- what is checked


@pytest.mark.parametrize(
    ("target", "module", "url"),
    [
        ("127.0.0.1", None, "http://127.0.0.1"),
        ("127.0.0.1:8080/x?y=1", None, "http://127.0.0.1:8080/x?y=1"),
        ("127.0.0.1/?to=http://a.test", None, "http://127.0.0.1/?to=http://a.test"),
        ("https://a.example.com/", None, "https://a.example.com/"),
        ("http%3A%2F%2F127.0.0.1%2Fx", None, "http://127.0.0.1/x"),
        ("http://127.0.0.1/a%20b", None, "http://127.0.0.1/a%20b"),
        ("tcp://127.0.0.1:25", None, "tcp://127.0.0.1:25"),
        ("127.0.0.1:25", "tcp_connect", "tcp://127.0.0.1:25"),
        ("a.example.com", "mail", "tls://a.example.com:993"),
        ("127.0.0.1:5353", "dns", "dns://127.0.0.1:5353/a.test"),
        ("127.0.0.1", "icmp", "icmp://127.0.0.1"),
        ("::1", "icmp", "icmp://[::1]"),
        ("https://127.0.0.1/", "short", "https://127.0.0.1/"),
        ("wss://127.0.0.1/chat", None, "wss://127.0.0.1/chat"),
    ],
)
def test_the_url_of_a_target(rig, target, module, url):
    """A URL is used as it is; anything else replaces the host in the module's URL."""
    assert rig.site(target, module=module).url == url


@pytest.mark.parametrize(
    ("module", "header", "timeout"),
    [
        (None, None, 119.5),
        (None, "0", 119.5),
        (None, "10", 9.5),
        (None, "1e1", 9.5),
        (None, "300", 119.5),
        ("short", None, 2.0),
        ("short", "10", 2.0),
        ("short", "1.5", 1.0),
        ("short", "2.5", 2.0),
        ("short", "0.2", 2.0),
        (None, "0.2", 0.001),
    ],
)
def test_the_deadline(rig, module, header, timeout):
    """It is Prometheus' timeout less half a second, or the module's timeout if that is shorter."""
    site = rig.site("127.0.0.1", module=module, scrape_timeout=header)
    assert site.timeout == pytest.approx(timeout)


@pytest.mark.parametrize("header", ["soon", "1_0", "nan", "inf", "10s", "٣"])
def test_a_header_that_is_no_number(rig, header):
    """The answer is 500, in the words of blackbox_exporter."""
    assert rig.refusal("127.0.0.1", scrape_timeout=header)[0] == 500


def test_every_check_is_guarded(rig):
    """The network options of each check carry the list; the rest of them is unchanged."""
    network = section(rig.site("127.0.0.1"), NetworkOptions)
    assert isinstance(network, GuardedNetwork)
    assert network.guard.why_not("127.0.0.9") is None
    assert network.guard.why_not("10.0.0.1")


def test_no_two_checks_share_a_name(rig):
    """The engine knows checks by name, so each name differs from all others and from the sites'."""
    names = {rig.start("127.0.0.1").site.name for _ in range(2)}
    assert len(names) == 2
    assert all("\n" in name for name in names)


def test_a_secret_of_the_url_is_not_shown(rig):
    """A secret that is substituted into a module's url stays hidden where the target is shown."""
    site = rig.site("127.0.0.1", module="health")
    assert site.url == "https://127.0.0.1/health?key=s3cr3t"
    assert site.target == "https://127.0.0.1/health?key=<secret>"
    assert "s3cr3t" in site.secrets


def test_another_configuration(rig):
    """A configuration that was read since applies from the next check on."""
    rig.config = load_text("probe_endpoint: {enabled: true, allow: [10.0.0.1]}", TABLES, {})
    assert rig.refusal("127.0.0.1")[0] == 403
    assert rig.site("10.0.0.1").url == "http://10.0.0.1"


# ---------------------------------------------------------------- hostname


def test_hostname_is_the_host_header(rig):
    """The request asks for that host name, in TLS too."""
    site = rig.site("https://127.0.0.1/", hostname="a.example.com")
    assert section(site, HttpOptions).headers == {"Host": "a.example.com"}
    assert section(site, TlsOptions).server_name == "a.example.com"


def test_hostname_that_the_module_says_too(rig):
    """The same name given twice is accepted; two different names are refused."""
    site = rig.site("127.0.0.1", module="hosted", hostname="A.example.com")
    assert section(site, HttpOptions).headers == {"host": "a.example.com"}
    status, text = rig.refusal("127.0.0.1", module="hosted", hostname="b.example.com")
    assert status == 400
    assert (
        text
        == "the module sets the header Host to 'a.example.com', and hostname says 'b.example.com'"
    )


def test_hostname_of_a_tls_target(rig):
    """It is the name to verify, unless the module has one."""
    site = rig.site("tls://127.0.0.1:1", hostname="a.example.com")
    assert section(site, TlsProbeOptions).server_name == "a.example.com"
    site = rig.site("127.0.0.1:1", module="named", hostname="a.example.com")
    assert section(site, TlsProbeOptions).server_name == "b.example.com"


@pytest.mark.parametrize("hostname", ["a\r\nX: y", " a", "a b\n"])
def test_a_hostname_that_is_none(rig, hostname):
    """The answer is 400, so that nothing is smuggled into the request."""
    assert rig.refusal("http://127.0.0.1/", hostname=hostname)[0] == 400
    assert rig.refusal("tls://127.0.0.1:1", hostname=hostname)[0] == 400


def test_the_documentation_names_the_default_timeout():
    """docs/blackbox.md names 119.5 s."""
    docs = Path(__file__).parents[2] / "docs" / "blackbox.md"
    assert "119.5 s" in docs.read_text()
