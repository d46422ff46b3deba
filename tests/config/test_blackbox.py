"""Each key of a blackbox_exporter file has an equivalent here, or an error that says why not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml
from click.testing import CliRunner

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.load import Config, load
from monitor.errors import ConfigError
from monitor.importers.blackbox import imported
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.dns_options import DnsOptions
from monitor.probes.grpc import GrpcOptions
from monitor.probes.http import HttpOptions
from monitor.probes.icmp import IcmpOptions
from monitor.probes.tcp import TcpOptions, TcpStep
from monitor.probes.tls import TlsDialogueOptions
from monitor.probes.ws import WsOptions

DOCS = Path(__file__).parents[2] / "docs" / "blackbox.md"


class Modules:
    """Loads the modules of a blackbox_exporter file from a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, modules: str) -> Path:
        path = self.folder / "blackbox.yml"
        path.write_text(f"modules:\n{modules}")
        return path

    def load(self, modules: str) -> Config:
        self.write(modules)
        sites = self.folder / "sites.yaml"
        sites.write_text("blackbox_modules: blackbox.yml\n")
        return load(sites, TABLES, {})

    def one(self, module: str):
        """Return the module that this flow mapping describes."""
        return self.load(f"  m: {module}").modules["m"]

    def problems(self, modules: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(modules)
        return [str(problem).replace(f"{self.folder}/", "") for problem in caught.value.problems]


@pytest.fixture
def modules(tmp_path) -> Modules:
    return Modules(tmp_path)


def section(module, record):
    return next(one for one in module.options if isinstance(one, record))


def expected(module):
    """Return the expectations that differ from the defaults of the protocol."""
    protocol = TABLES.protocol_of(module.scheme)
    kinds = TABLES.expectations
    return {
        key: value
        for key, value in module.expect
        if value != kinds[key].defaults.get(protocol, "none")
    }


def shape(key: str, written):
    """Return an expectation in its decoded form."""
    return get_args(TABLES.expectations[key].shape)[1].parse(written)


PLAIN = HttpOptions(compression=False)
OPTIONS = [
    ("{prober: http}", PLAIN),
    (
        "{prober: http, http: {method: POST, body: 'a$b'}}",
        replace(PLAIN, method="POST", body="a$b"),
    ),
    ("{prober: http, http: {headers: {A: b}}}", replace(PLAIN, headers={"A": "b"})),
    (
        "{prober: http, http: {http_headers: {A: {values: [b, c], secrets: [d]}}}}",
        replace(PLAIN, headers={"A": "b, c, d"}),
    ),
    ("{prober: http, http: {body_size_limit: 10MB}}", replace(PLAIN, max_body=10 * 1024**2)),
    ("{prober: http, http: {compression: br}}", HttpOptions(headers={"Accept-Encoding": "br"})),
    (
        "{prober: http, http: {compression: identity}}",
        replace(PLAIN, headers={"Accept-Encoding": "identity"}),
    ),
    (
        "{prober: http, http: {compression: gzip, headers: {accept-encoding: 'gzip, br'}}}",
        HttpOptions(headers={"accept-encoding": "gzip, br"}),
    ),
    ("{prober: http, http: {follow_redirects: false}}", replace(PLAIN, follow_redirects=False)),
    (
        "{prober: http, http: {follow_redirects: true, no_follow_redirects: true}}",
        replace(PLAIN, follow_redirects=False),
    ),
    ("{prober: http, http: {enable_http2: false}}", replace(PLAIN, version="1.1")),
    (
        "{prober: http, http: {enable_http2: false, enable_http3: true}}",
        replace(PLAIN, version="3"),
    ),
    (
        "{prober: http, http: {proxy_url: 'http://proxy.test:3128'}}",
        replace(PLAIN, proxy="http://proxy.test:3128"),
    ),
    (
        "{prober: http, http: {authorization: {credentials: t0ken}}}",
        replace(PLAIN, bearer_token="t0ken"),
    ),
    (
        "{prober: http, http: {authorization: {type: Token, credentials: t0ken}}}",
        replace(PLAIN, headers={"Authorization": "Token t0ken"}),
    ),
    ("{prober: http, http: {ip_protocol_fallback: false}}", NetworkOptions(ip="6")),
    ("{prober: http, http: {preferred_ip_protocol: ip4}}", NetworkOptions()),
    (
        "{prober: tcp, tcp: {source_ip_address: 192.0.2.1}}",
        NetworkOptions(source_address="192.0.2.1"),
    ),
    ("{prober: http, http: {headers: {host: a.test:80}}}", TlsOptions(server_name="a.test")),
    (
        "{prober: http, http: {headers: {Host: a.test}, tls_config: {server_name: b.test}}}",
        TlsOptions(server_name="b.test"),
    ),
    (
        (
            "{prober: http, http: {tls_config: "
            "{insecure_skip_verify: true, min_version: TLS12, max_version: TLS13}}}"
        ),
        TlsOptions(verify=False, min_version="1.2", max_version="1.3"),
    ),
    ("{prober: icmp}", IcmpOptions(count=1)),
    (
        "{prober: icmp, icmp: {ttl: 5, payload_size: 100, dont_fragment: true}}",
        IcmpOptions(count=1, ttl=5, size=100, dont_fragment=True),
    ),
    (
        "{prober: dns, dns: {query_name: a.test}}",
        DnsOptions(edns=False, records="blackbox_exporter", type="ANY"),
    ),
    (
        (
            "{prober: dns, dns: {query_name: a.test, query_type: mx, query_class: CH, "
            "transport_protocol: tcp, dns_over_tls: true, recursion_desired: false}}"
        ),
        DnsOptions(
            edns=False,
            records="blackbox_exporter",
            type="MX",
            class_="CH",
            transport="tls",
            recursion=False,
        ),
    ),
    (
        "{prober: grpc, grpc: {service: s, metadata: {k: [v]}}}",
        GrpcOptions(service="s", metadata={"k": ("v",)}),
    ),
    (
        (
            "{prober: websocket, websocket: {headers: {A: {values: [b]}}, "
            "http_config: {authorization: {credentials: t}}}}"
        ),
        WsOptions(headers={"A": "b"}, bearer_token="t"),
    ),
]


@pytest.mark.parametrize(("written", "options"), OPTIONS, ids=[one for one, _ in OPTIONS])
def test_an_option_has_its_place(modules, written, options):
    """Each key of blackbox_exporter becomes one of our options with the same meaning."""
    assert section(modules.one(written), type(options)) == options


EXPECTATIONS = [
    ("valid_status_codes: [200, 301]", {"status": [200, 301]}),
    ('valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]', {"http_version": ["1.1", "2"]}),
    ("fail_if_body_matches_regexp: [a, b]", {"body": {"not_matches": ["a", "b"]}}),
    ("fail_if_body_not_matches_regexp: [a, b]", {"body": {"matches": ["a", "b"]}}),
    (
        "fail_if_header_matches: [{header: X-A, regexp: a}]",
        {"header": {"x-a": {"not_matches": "a", "absent": False}}},
    ),
    (
        "fail_if_header_matches: [{header: X-A, regexp: a, allow_missing: true}]",
        {"header": {"x-a": {"not_matches": "a", "absent": "allowed"}}},
    ),
    (
        (
            "fail_if_header_matches: [{header: X-A, regexp: a, allow_missing: true}], "
            "fail_if_header_not_matches: [{header: x-a, regexp: b}]"
        ),
        {"header": {"x-a": {"not_matches": "a", "matches": "b", "absent": False}}},
    ),
    (
        "fail_if_body_json_matches_cel: 'body.a == \"body\"'",
        {"that": ['!(json.a == "body")']},
    ),
    ("fail_if_body_json_not_matches_cel: body.body.a > 1", {"that": ["json.body.a > 1"]}),
]


@pytest.mark.parametrize(("written", "ours"), EXPECTATIONS, ids=[one for one, _ in EXPECTATIONS])
def test_a_condition_becomes_an_expectation(modules, written, ours):
    """A condition that fails their probe becomes an expectation that fails ours."""
    module = modules.one(f"{{prober: http, http: {{{written}}}}}")
    assert expected(module) == {key: shape(key, value) for key, value in ours.items()}


@pytest.mark.parametrize(("key", "wanted"), [("fail_if_ssl", False), ("fail_if_not_ssl", True)])
def test_tls_or_no_tls(modules, key, wanted):
    """fail_if_ssl becomes tls: false, and fail_if_not_ssl becomes tls: true."""
    assert expected(modules.one(f"{{prober: http, http: {{{key}: true}}}}")) == {"tls": wanted}


def test_dns_records(modules):
    """Patterns are kept as written, and a list of which any may match becomes one pattern."""
    module = modules.one(
        "{prober: dns, dns: {query_name: a.test, valid_rcodes: [NXDOMAIN], validate_answer_rrs: "
        r"{fail_if_matches_regexp: [a], fail_if_not_matches_regexp: ['A\t1'], "
        "fail_if_none_matches_regexp: [c, d]}, "
        "validate_authority_rrs: {fail_if_matches_regexp: [e]}}}"
    )
    assert expected(module) == {
        "rcode": ("NXDOMAIN",),
        "answer": shape(
            "answer",
            {
                "count": {"ge": 0},
                "not_matches": "a",
                "all_match": r"A\t1",
                "matches": "(?:c)|(?:d)",
            },
        ),
        "authority": shape("authority", {"not_matches": "e"}),
    }


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("{prober: http}", "http://{target}"),
        ("{prober: tcp}", "tcp://{target}"),
        ("{prober: tcp, tcp: {tls: true}}", "tls://{target}"),
        ("{prober: icmp}", "icmp://{target}"),
        ("{prober: grpc}", "grpc://{target}"),
        ("{prober: grpc, grpc: {tls: true}}", "grpcs://{target}"),
        ("{prober: websocket}", "ws://{target}"),
        ("{prober: dns, dns: {query_name: a/b.test}}", "dns://{target}/a%2Fb.test"),
    ],
)
def test_the_prober_is_the_scheme(modules, written, url):
    """A target without a scheme gets the scheme of the prober."""
    assert modules.one(written).url == url


@pytest.mark.parametrize(
    ("written", "seconds"), [("", None), ("timeout: 5s, ", 5.0), ("timeout: 0s, ", None)]
)
def test_the_timeout(modules, written, seconds):
    """A timeout of 0 means that the module sets no limit of its own."""
    assert modules.one(f"{{{written}prober: icmp}}").timeout == seconds


DIALOGUES = [
    ("[{expect: '^220 '}, {send: QUIT}]", [{"expect": "^220 "}, {"send": "QUIT\n"}]),
    (
        "[{expect: 'PING :([^ ]+)', send: 'PONG ${1} $$ $1x $2'}]",
        [{"expect": "PING :([^ ]+)"}, {"send": "PONG \\1 $  \n"}],
    ),
    ("[{expect: '(?P<a>x)', send: '$a'}]", [{"expect": "(x)"}, {"send": "\\1\n"}]),
    ("[{send: '$1 \\1'}]", [{"send": "$1 \\\\1\n"}]),
    ("[{expect_bytes: 'a!'}]", [{"expect_bytes": b"a!"}]),
    ("[{expect: OK, starttls: true}]", [{"expect": "OK"}, {"starttls": True}]),
    (
        r"[{expect: '^([(]\()(\Q(\E)?(?:x)(.*)$', labels: [{name: v, value: '${3}'}]}]",
        [{"expect": r"^([(]\()(\Q(\E)?(?:x)(?P<v>.*)$"}],
    ),
]


@pytest.mark.parametrize(("written", "steps"), DIALOGUES, ids=[one for one, _ in DIALOGUES])
def test_a_dialogue(modules, written, steps):
    """One step of theirs may expect, send and upgrade; each of ours does one of these."""
    module = modules.one(f"{{prober: tcp, tcp: {{query_response: {written}}}}}")
    assert section(module, TcpOptions).dialogue == tuple(TcpStep(**step) for step in steps)


def test_a_dialogue_under_tls(modules):
    """With tls: true, the steps run after the handshake."""
    module = modules.one("{prober: tcp, tcp: {tls: true, query_response: [{expect: '^+OK'}]}}")
    (step,) = section(module, TlsDialogueOptions).dialogue
    assert step.expect == "^+OK"


def test_a_dialogue_of_messages(modules):
    """WebSocket messages are sent as written, with no line ending added."""
    module = modules.one("{prober: websocket, websocket: {query_response: [{send: hello}]}}")
    (step,) = section(module, WsOptions).dialogue
    assert step.send == "hello"


# ---------------------------------------------------------------- what is wrong

BAD = [
    ("{prober: http, htp: {}}", "m.htp: unknown option; did you mean 'http'?"),
    ("{prober: http, http: {metod: GET}}", "m.http.metod: unknown option; did you mean 'method'?"),
    ("{prober: dns, dns: {}}", "m.dns: query_name must be set for a DNS module"),
    ("{prober: http, http: {body: a, body_file: b}}", "m.http: body and body_file cannot be used"),
    ("{prober: icmp, icmp: {ttl: -1}}", "m.icmp: ttl cannot be negative"),
    ("{prober: icmp, icmp: {ttl: 256}}", "m.icmp: ttl cannot exceed 255"),
    (
        "{prober: http, http: {fail_if_body_matches_regexp: ['(']}}",
        "m.http.fail_if_body_matches_regexp[0]: '(' is not an RE2 pattern: missing ): (",
    ),
    (
        "{prober: http, http: {fail_if_header_matches: [{header: '', regexp: a}]}}",
        "m.http.fail_if_header_matches[0]: header must be set for HTTP header matchers",
    ),
    (
        "{prober: http, http: {fail_if_header_matches: [{header: a, regexp: ''}]}}",
        "m.http.fail_if_header_matches[0]: regexp must be set for HTTP header matchers",
    ),
    (
        "{prober: http, http: {fail_if_body_json_matches_cel: 'a ='}}",
        "m.http.fail_if_body_json_matches_cel: ",
    ),
    (
        "{prober: tcp, tcp: {query_response: [{expect: a, expect_bytes: b}]}}",
        "m.tcp.query_response[0]: expect and expect_bytes cannot be used together",
    ),
    (
        "{prober: http, http: {compression: gzip, headers: {Accept-Encoding: 'br, gzip;q=0.0'}}}",
        "m.http: compression gzip is not among what the header Accept-Encoding asks for",
    ),
    (
        "{prober: http, http: {enable_http3: true}}",
        "m.http: enable_http3 needs enable_http2: false beside it",
    ),
    (
        "{prober: http, http: {valid_http_versions: [HTTP/3.0]}}",
        "m.http: valid_http_versions can have HTTP/3.0 only with enable_http3: true",
    ),
    (
        "{prober: http, http: {basic_auth: {}, authorization: {credentials: a}}}",
        "m.http: basic_auth and authorization cannot be used together",
    ),
]

LEFT_OUT = [
    ("{prober: htp}", "m.prober: this module is left out: there is no prober 'htp'"),
    ("{}", "m.prober: this module is left out: there is no prober ''"),
    (
        "{prober: dns, dns: {query_name: a, query_type: X}}",
        "m.dns.query_type: this module is left out: 'X' is not a DNS record",
    ),
    (
        "{prober: dns, dns: {query_name: a, query_class: X}}",
        "m.dns.query_class: this module is left out: 'X' is not a DNS class",
    ),
    (
        "{prober: dns, dns: {query_name: a, dns_over_tls: true}}",
        "m.dns.dns_over_tls: this module is left out: dns_over_tls needs transport_protocol: tcp",
    ),
    (
        "{prober: http, http: {body_file: nowhere}}",
        "m.http.body_file: this module is left out: there is no file nowhere",
    ),
    ("{prober: unix}", "m.prober: this module is left out: Unix sockets cannot be checked"),
    (
        "{prober: http, http: {proxy_from_environment: true}}",
        "m.http.proxy_from_environment: this module is left out: proxies",
    ),
    (
        "{prober: http, http: {proxy_url: 'http://p:1', no_proxy: a}}",
        "m.http.no_proxy: this module is left out: a module uses one proxy for all its targets",
    ),
    (
        "{prober: http, http: {proxy_url: 'http://p:1', proxy_connect_header: {A: [b]}}}",
        "m.http.proxy_connect_header: this module is left out: ",
    ),
    (
        "{prober: grpc, grpc: {tls: true, tls_config: {insecure_skip_verify: true}}}",
        "m.grpc.tls_config.insecure_skip_verify: this module is left out: ",
    ),
    (
        "{prober: tcp, tcp: {tls: true, query_response: [{starttls: true}]}}",
        "m.tcp.tls: this module is left out: starttls asks for TLS over TLS",
    ),
    (
        "{prober: tcp, tcp: {query_response: [{expect: (a), labels: [{name: n, value: 'v $1'}]}]}}",
        "m.tcp.query_response[0].labels[0]: this module is left out: the label n",
    ),
]


@pytest.mark.parametrize(("written", "said"), BAD, ids=[one for one, _ in BAD])
def test_what_is_wrong_is_told_with_its_place(modules, written, said):
    """Each error is one sentence and gives its place in the blackbox_exporter file."""
    (problem,) = modules.problems(f"  m: {written}\n")
    assert problem.startswith("blackbox.yml:2:")
    assert (
        re.sub(r"^.*?: (modules\.)?", "", problem, count=1)
        .replace(f"{modules.folder}/", "")
        .startswith(said)
    )


@pytest.mark.parametrize(("written", "said"), LEFT_OUT, ids=[one for one, _ in LEFT_OUT])
def test_what_cannot_be_had_is_left_out_with_a_warning(modules, written, said):
    """The file loads without the module, and a warning says where and why it is left out."""
    config = modules.load(f"  m: {written}\n")
    assert "m" not in config.modules
    assert "m" in config.set_aside
    (warning,) = config.warnings
    assert warning.line == 2
    text = warning.message.removeprefix("modules.").replace(f"{modules.folder}/", "")
    assert text.startswith(said)


def test_every_problem_of_a_file_is_told(modules):
    """One load reports the unknown keys of several modules."""
    said = modules.problems("  a: {prober: http, x: 1}\n  b: {prober: icmp, y: 1}\n")
    assert [one.partition(": ")[0] for one in said] == ["blackbox.yml:2:21", "blackbox.yml:3:21"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("blackbox_modules: nowhere.yml", "there is no file"),
        ("blackbox_modules: [a]", "must be the path of a blackbox_exporter file"),
        ("blackbox_modules: .", "is a folder, not a file"),
    ],
)
def test_a_file_that_is_not_there(tmp_path, written, said):
    """The error points to the key that names the missing file."""
    path = tmp_path / "sites.yaml"
    path.write_text(written)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path, TABLES, {})
    assert caught.value.problems[0].column == 19


def test_a_name_is_given_once(modules):
    """Our own module cannot have the name of a module in the blackbox_exporter file."""
    modules.write("  m: {prober: http}\n")
    path = modules.folder / "sites.yaml"
    path.write_text("blackbox_modules: blackbox.yml\nmodules: {m: {}}\n")
    with pytest.raises(ConfigError, match=r"the name 'm' is taken, at .*blackbox\.yml:2:3"):
        load(path, TABLES, {})


# ---------------------------------------------------------------- secrets and files

SECRETS = """
  m:
    prober: http
    http:
      basic_auth: {username: me, password: geheim-1}
      http_headers: {X-Some: {secrets: [geheim-2]}, X-File: {files: [header.txt]}}
      proxy_url: http://me:geheim-4@proxy.test:1
  n: {prober: http, http: {oauth2: {client_id: me, client_secret_file: secret.txt, token_url: "http://a.test/"}}}
"""


@pytest.fixture
def secretive(modules):
    (modules.folder / "header.txt").write_text("geheim-3\n")
    (modules.folder / "secret.txt").write_text("geheim-5\n")
    return modules.load(SECRETS)


def test_secrets_are_known(secretive):
    """Passwords, secret headers and values read from files are masked wherever they may appear."""
    first, second = secretive.modules["m"], secretive.modules["n"]
    assert {f"geheim-{number}" for number in (1, 2, 3, 4)} <= {*first.secrets}
    assert "geheim-5" in second.secrets
    assert "geheim" not in first.masked + second.masked + secretive.masked
    assert section(first, HttpOptions).headers == {"X-Some": "geheim-2", "X-File": "geheim-3"}
    assert section(second, HttpOptions).oauth2.client_secret == "geheim-5"


def test_files_are_watched(secretive):
    """The watched files include the blackbox_exporter file and each file that it names."""
    names = {path.name for path in secretive.files}
    assert {"blackbox.yml", "header.txt", "secret.txt"} <= names


def test_a_dollar_is_a_dollar(modules):
    """Nothing is substituted in a blackbox_exporter file."""
    module = modules.one("{prober: http, http: {body: '${HOME} $$'}}")
    assert section(module, HttpOptions).body == "${HOME} $$"


# ---------------------------------------------------------------- monitor import blackbox


def equal(one, other):
    return replace(one, masked="", secrets=()) == replace(other, masked="", secrets=())


@pytest.mark.parametrize(
    "written",
    [one for one, _ in OPTIONS]
    + [f"{{prober: tcp, tcp: {{query_response: {one}}}}}" for one, _ in DIALOGUES],
)
def test_an_imported_module_means_the_same(modules, written):
    """The printed text loads without a problem and gives the same module as the original file."""
    theirs = modules.one(written)
    ours = modules.folder / "ours.yaml"
    done = imported(modules.folder / "blackbox.yml", TABLES)
    assert not done.problems
    ours.write_text(done.text)
    assert equal(load(ours, TABLES, done.secrets).modules["m"], theirs)


def test_an_import_with_secrets_and_files(secretive, modules):
    """Secrets become variables whose values are written apart; files stay files."""
    done = imported(modules.folder / "blackbox.yml", TABLES)
    assert "geheim" not in done.text + done.report("blackbox.yml")
    assert "geheim-1" in done.environment()
    assert "geheim-3" not in done.environment()
    ours = modules.folder / "ours.yaml"
    ours.write_text(done.text)
    loaded = load(ours, TABLES, done.secrets)
    assert all(equal(loaded.modules[name], secretive.modules[name]) for name in ("m", "n"))


def test_an_import_comments_on_what_has_no_equivalent(modules):
    """Comments replace errors about what has no equivalent, and the rest is imported."""
    path = modules.write(
        "  u: {prober: unix}\n"
        "  p: {prober: http, http: {method: PUT, proxy_from_environment: true}}\n"
    )
    text = imported(path, TABLES).text
    assert "  # prober: Unix sockets cannot be checked\n  # u is left out.\n" in text
    assert "  # http.proxy_from_environment: proxies from the environment are not" in text
    ours = modules.folder / "ours.yaml"
    ours.write_text(text)
    assert section(load(ours, TABLES, {}).modules["p"], HttpOptions).method == "PUT"


def test_an_import_of_a_bad_file(modules):
    """The import of a bad file reports its problems and prints nothing."""
    with pytest.raises(ConfigError, match="did you mean 'method'"):
        imported(modules.write("  m: {prober: http, http: {metod: GET}}\n"), TABLES)


@pytest.mark.parametrize("written", ["{}", "{u: {prober: unix}}"])
def test_an_import_of_nothing(tmp_path, written):
    """An import fails if it would write no module, since `monitor validate` refuses such a file."""
    path = tmp_path / "blackbox.yml"
    path.write_text(f"modules: {written}\n")
    with pytest.raises(ConfigError, match="has no module that can be written"):
        imported(path, TABLES)


def test_an_import_of_a_site_list(tmp_path):
    """The error says that the file is a site list, not a blackbox_exporter file."""
    path = tmp_path / "sites.yaml"
    path.write_text("sites: [https://a.test]\nmodules: {m: {url: 'tcp://{target}'}}\n")
    with pytest.raises(ConfigError, match=r"sites\.yaml:1:1: sites: this is a site list"):
        imported(path, TABLES)
    path.write_text("- https://a.test\n")
    with pytest.raises(ConfigError, match="must be a mapping of keys such as modules:"):
        imported(path, TABLES)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "{prober: http, http: {bearer_token_file: nowhere}}",
            "modules.m.http.bearer_token_file: there is no file ",
        ),
        (
            "{prober: http, http: {body_file: nowhere}}",
            "modules.m.http.body_file: there is no file ",
        ),
        (
            "{prober: dns, dns: {query_name: a.test, query_type: AXFR}}",
            "modules.m.dns.query_type: AXFR is not a record type that can be asked for",
        ),
        (
            "{prober: http, http: {fail_if_body_json_matches_cel: 'body.n +'}}",
            "modules.m.http.fail_if_body_json_matches_cel: !(json.n +) is not a CEL",
        ),
    ],
)
def test_what_cannot_be_used_as_it_is_written_is_told(modules, written, said):
    """The import prints its text and reports each problem in it at its place in the file."""
    path = modules.write(f"  m: {written}\n")
    done = CliRunner().invoke(cli, ["import", "blackbox", str(path)])
    assert done.exit_code == 2
    assert done.stdout.startswith("# From blackbox.yml of blackbox_exporter.\nmodules:\n")
    (problem,) = done.stderr.splitlines()
    assert re.sub(r":2:\d+: ", ":", problem).startswith(f"{path}:{said}")


# ---------------------------------------------------------------- our own documents


def test_the_examples_of_the_documentation(modules):
    """The configuration in docs/blackbox.md loads."""
    modules.write("  theirs: {prober: http}\n")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    path = modules.folder / "sites.yaml"
    path.write_text(block)
    assert {"theirs", "api", "mail"} <= {*load(path, TABLES, {}).modules}


def test_the_shipped_modules_are_all_named_there():
    """docs/blackbox.md lists exactly the modules that the code ships."""
    named = (
        DOCS.read_text()
        .split("a module of yours with the same name replaces it:")[1]
        .split(".\n")[0]
    )
    assert set(re.findall(r"`(\w+)`", named)) == set(yaml.safe_load(TABLES.modules))
