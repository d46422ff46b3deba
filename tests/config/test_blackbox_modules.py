"""Our own modules, and the settings of the probe endpoint that uses them."""

from pathlib import Path

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import load, load_text
from monitor.config.modules import default_module
from monitor.errors import ConfigError
from monitor.probes.http import HttpOptions
from monitor.protocols.table import SCHEMES


def problems(text: str, environ=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, TABLES, environ or {})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("5", "modules.m: must be a mapping; a module without options is {}"),
        ("{interval: 5s}", "modules.m.interval: belongs to a site, not to a module"),
        ("{name: x}", "modules.m.name: belongs to a site, not to a module"),
        ("{htp: {}}", "modules.m.htp: unknown option; did you mean 'http'?"),
        ("{tcp: {}}", "modules.m.tcp: does not belong to http sites; they have http, tls, network"),
        ("{http: {metod: GET}}", "modules.m.http.metod: unknown option; did you mean 'method'?"),
        ("{expect: {stats: 200}}", "modules.m.expect.stats: unknown expectation; did you mean"),
        ("{expect: {rcode: NOERROR}}", "modules.m.expect.rcode: does not belong to http sites"),
        ("{timeout: 0s}", "modules.m.timeout: must be at least 1ms, not 0s"),
        ("{url: 'htp://{target}'}", "modules.m.url: unknown scheme; did you mean 'http'?"),
        ("{url: 'http://a.test'}", "modules.m.url: 'http://a.test' is not a URL with {target} in"),
        ("{url: 'http://a.test/{target}'}", "modules.m.url: 'http://a.test/{target}' is not a"),
        ("{url: '{target}'}", "modules.m.url: '{target}' is not a URL with {target} instead of"),
    ],
)
def test_what_is_wrong_with_a_module(module, said):
    """The checks are as strict as for a site, and the error has a place."""
    (problem,) = problems(f"modules:\n  m: {module}\n")
    place, _, message = problem.partition(": ")
    assert place.startswith("text:2:")
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "{enabled: true}",
            "allow is empty, so no target is allowed; list host globs and networks",
        ),
        (
            "{allow: [10.0.0.0/33]}",
            "'10.0.0.0/33' is neither a host glob such as *.example.com nor",
        ),
        ("{allow: [10.0.0]}", "'10.0.0' is neither a host glob"),
        ("{allow: ['http://a.test']}", "'http://a.test' is neither a host glob"),
        ("{allow: ['']}", "'' is neither a host glob"),
        ("{concurrent: 0}", "probe_endpoint.concurrent: must be a whole number from 1 to 32768"),
    ],
)
def test_what_is_wrong_with_the_endpoint(settings, said):
    """Settings that admit no target, or other targets than meant, are reported."""
    (problem,) = problems(f"probe_endpoint: {settings}\nsites: [https://a.test]\n")
    assert said in problem


def test_a_module_is_given_once():
    """A module may replace the shipped one of the same name."""
    config = load_text("modules: {http_2xx: {http: {method: HEAD}}}", TABLES, {})
    (options,) = [o for o in config.modules["http_2xx"].options if isinstance(o, HttpOptions)]
    assert options.method == "HEAD"


def test_defaults_do_not_apply_to_modules():
    """Defaults apply to sites, not to modules."""
    config = load_text("defaults: {http: {method: HEAD}}\nmodules: {m: {}}", TABLES, {})
    (options,) = [o for o in config.modules["m"].options if isinstance(o, HttpOptions)]
    assert options.method == "GET"


def test_a_configuration_without_sites():
    """Modules or the endpoint suffice without sites; a configuration without any is an error."""
    assert load_text("modules: {m: {}}", TABLES, {}).sites == ()
    assert load_text("probe_endpoint: {enabled: true, allow: ['*']}", TABLES, {}).sites == ()
    assert "lists no site" in problems("probe_endpoint: {enabled: false}")[0]


def test_secrets_of_a_module():
    """They are known, and neither the configuration page nor debug=true shows them."""
    text = "modules: {m: {http: {bearer_token: geheim-1, headers: {X-Token: geheim-2}}}}"
    config = load_text(f"{text}\nsites: [https://a.test]", TABLES, {})
    assert {"geheim-1", "geheim-2"} <= config.secrets()
    assert "geheim" not in config.masked + config.modules["m"].masked


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("example.com", "http_2xx"),
        ("HTTPS://example.com", "http_2xx"),
        ("TCP://example.com:1", "tcp_connect"),
        ("wss://example.com", "websocket"),
        ("grpcs://example.com:1", "grpc"),
        ("ftp://example.com", "http_2xx"),
    ],
)
def test_the_default_module_of_a_target(target, name):
    """The default is http_2xx as in blackbox_exporter; each other scheme has its own module."""
    assert default_module(target) == name
    assert name in load_text("sites: [https://a.test]", TABLES, {}).modules


def test_every_scheme_has_a_module():
    """A target of any scheme that can be probed needs no module in the request."""
    shipped = load_text("sites: [https://a.test]", TABLES, {}).modules
    for scheme in TABLES.probes:
        if SCHEMES[scheme].reports_itself:
            continue
        module = shipped[default_module(f"{scheme}://a.test")]
        assert TABLES.probes[module.scheme] is TABLES.probes[scheme]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bb.yml:1:1: holds nothing"),
        ("# modules: {mine: {prober: tcp}}\n", "bb.yml:1:1: holds nothing"),
        ("null\n", "bb.yml:1:1: holds nothing"),
        ("{}\n", "sites.yaml:1:19: blackbox_modules: bb.yml holds no module; write some, or leave"),
        ("modules: {}\n", "sites.yaml:1:19: blackbox_modules: bb.yml holds no module; write some"),
    ],
)
def test_an_emptied_module_file_is_a_mistake(tmp_path, monkeypatch, text, said):
    """If it loaded, its modules would vanish and each /probe of them would get a 404 or 400."""
    monkeypatch.chdir(tmp_path)
    Path("sites.yaml").write_text("blackbox_modules: bb.yml\nsites: [https://a.example]\n")
    Path("bb.yml").write_text("modules: {mine: {prober: tcp}}\n")
    assert "mine" in load(Path("sites.yaml"), TABLES, {}).modules
    Path("bb.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Path("sites.yaml"), TABLES, {})
    (problem,) = caught.value.problems
    assert str(problem).startswith(said)
