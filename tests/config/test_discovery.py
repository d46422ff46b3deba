"""The key ``discover``, and the sites made from what sources list."""

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import load
from monitor.discovered import ListedSite, SourceContents
from monitor.errors import ConfigError


@pytest.fixture
def config_of(tmp_path):
    def load_text(text, **environ):
        path = tmp_path / "sites.yaml"
        path.write_text(text)
        return load(path, TABLES, environ)

    return load_text


@pytest.fixture
def problems_of(config_of, tmp_path):
    def problems(text):
        with pytest.raises(ConfigError) as caught:
            config_of(text)
        return [str(one).replace(f"{tmp_path}/", "") for one in caught.value.problems]

    return problems


def adopt(config, *found, **more):
    """Return the configuration with these entries from its only source."""
    adoption = config.adoption(TABLES)
    [declared] = config.sources
    entries = tuple(
        one if isinstance(one, ListedSite) else ListedSite(one, f"place {number}")
        for number, one in enumerate(found)
    )
    adopted = adoption.adopt({declared.source.name: SourceContents(entries, **more)})
    return config.with_discovered(adopted), adopted.rejected.get(declared.source.name, ())


HTTP = "discover: [{http: {url: 'http://127.0.0.1:1/x'}}]\n"


def test_a_source_is_declared(config_of, tmp_path):
    """Name, limit and grace have defaults, and the options are those of the source's kind."""
    config = config_of(
        "discover:\n"
        "  - file: {paths: [a/*.json]}\n"
        "  - {name: inventory, http: {url: 'http://h/x', headers: {X-Token: '${T}'}}, limit: 7,"
        " gone: 1h}\n"
        "  - kubernetes:\n"
        "  - docker: {}\n"
        "  - sitemap: {url: https://h/sitemap.xml}\n",
        T="hunter22",
    )
    sources = [one.source for one in config.sources]
    assert [(one.name, one.kind, one.limit, one.gone) for one in sources] == [
        ("file", "file", 1000, 600),
        ("inventory", "http", 7, 3600),
        ("kubernetes", "kubernetes", 1000, 600),
        ("docker", "docker", 1000, 600),
        ("sitemap", "sitemap", 1000, 600),
    ]
    assert sources[0].folder == tmp_path
    assert sources[1].options.headers == {"X-Token": "hunter22"}
    assert "hunter22" in config.secrets()
    assert "hunter22" not in config.masked
    assert (sources[4].options.sample, sources[4].options.refresh) == (50, 3600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("discover:\n", "1:10: discover: is empty; list sources, or write [] to have none"),
        ("discover: {}\n", "1:11: discover: must be a list of sources"),
        ("discover: [x]\n", "1:12: discover[0]: must be a mapping such as"),
        ("discover: [{limit: 3}]\n", "1:12: discover[0]: must have exactly one of the keys file,"),
        ("discover: [{file: {paths: [a]}, docker: {}}]\n", "1:12: discover[0]: must have exactly"),
        ("discover: [{docker: {}, lmit: 3}]\n", "1:25: discover[0].lmit: unknown option; did you"),
        ("discover: [{docker: {hots: x}}]\n", "1:22: discover[0].docker.hots: unknown option; did"),
        ("discover: [{docker: {}, limit: 0}]\n", "1:32: discover[0].limit: must be a whole number"),
        ("discover: [{docker: {}, name: a b}]\n", "1:31: discover[0].name: 'a b' is not a name"),
        ("discover: [{docker: {}}, {docker: {}}]\n", "1:26: discover[1].name: the name 'docker'"),
        ("discover: [{file: {paths: []}}]\n", "discover[0].file: paths must name at least one"),
        ("discover: [{http: {}}]\n", "discover[0].http.url: must be given"),
        (
            "discover: [{http: {url: 'x:hunter22'}}]\n",
            "http.url: must be a URL without #",
        ),
        (
            "discover: [{docker: {host: tcp}}]\n",
            "docker.host: must be unix:///run/docker.sock, http:",
        ),
        ("discover: [{docker: {}, defaults: {url: x}}]\n", "belongs to a site, not to defaults"),
        ("discover: [{docker: {}, defaults: {intervl: 1s}}]\n", "defaults.intervl: unknown option"),
        ("discover: [{docker: {}, defaults: 3}]\n", "discover[0].defaults: must be a mapping"),
        ("discover: [{kubernetes: {kubeconfig: none}}]\n", "there is no file"),
    ],
)
def test_a_mistake_in_a_source_has_its_place(problems_of, text, message):
    """The error has a place, as any error of the list, and quotes no secret."""
    (problem,) = problems_of(text)
    assert message in problem
    assert "hunter22" not in problem


def test_entries_pass_the_checks_of_the_list(config_of):
    """Defaults of file and source apply; a bad entry is rejected alone and says why."""
    config = config_of(
        "defaults: {interval: 30s, timeout: 3s}\n"
        "discover:\n"
        "  - docker: {}\n"
        "    defaults: {timeout: 4s, http: {headers: {X-Token: '${T}'}}}\n",
        T="hunter22",
    )
    config, rejected = adopt(
        config,
        {"url": "https://good.example", "labels": {"a": "b"}, "expect": {"status": [200, 301]}},
        {"url": "ftp://bad.example"},
        {"url": "https://u:hunter23@bad.example", "intervl": "1s"},
        {"url": "https://bad.example", "interval": "1s"},
        {"url": "https://bad.example/a", "name": "a\nb"},
        {"url": "https://bad.example/b", "labels": {"job": "x"}},
        {"url": "https://bad.example/c", "was": "shop"},
        {"url": "https://bad.example/${HOME}"},
        {"url": "https://bad.example/d", "http": {"headers": {"x": "${file:/etc/passwd}"}}},
        {"url": "https://bad.example/e", "${HOME}": "x"},
        {"url": "https://bad.example/f", "tls": {"ca_file": "/etc/ssl/certs/ca.pem"}},
        {"url": "https://bad.example/g", "labels": {"a": float("nan")}},
        {"url": "push:job", "push": {"token": "hunter2hunter2hunter2", "every": "5m"}},
        {},
        ListedSite({}, "place x", "cannot be"),
    )
    (site,) = config.sites
    assert (site.name, site.interval, site.timeout) == ("good.example", 30, 4)
    assert site.labels == (("a", "b"),)
    assert "hunter22" in site.secrets
    begins = [
        "place 1: url: unknown scheme 'ftp'",
        "place 2: intervl: unknown option; did you mean 'interval'?",
        "place 3: interval: is shorter than the timeout of 4s",
        "place 4: name: holds a control character",
        "place 5: labels.job: is Prometheus' own label",
        "place 6: was: belongs to a site of the list",
        "place 7: holds ${, and references are not allowed",
        "place 8: holds ${, and references are not allowed",
        "place 9: holds ${, and references are not allowed",
        "place 10: tls.ca_file: may name no file where it is discovered",
        "place 11: holds a value that is neither a text",
        "place 12: url: sites of push belong to the list",
        "place 13: url: must be given",
        "place x: cannot be",
    ]
    assert [
        message[: len(begin)] for message, begin in zip(rejected, begins, strict=True)
    ] == begins
    assert "hunter" not in config.masked
    assert "# rejected: place 1: url: unknown scheme" in config.masked


def test_files_win_over_what_is_discovered(config_of):
    """Of two entries with one name the first wins; /config shows both, with the reason."""
    config = config_of(f"sites: [{{name: shop, url: https://own.example}}]\n{HTTP}")
    config, rejected = adopt(
        config,
        {"url": "https://other.example", "name": "shop"},
        {"url": "https://a.example", "name": "a"},
        {"url": "https://b.example", "name": "a"},
        gone=(
            ListedSite({"url": "https://c.example", "name": "a"}, "p"),
            ListedSite({"url": "x"}, "q"),
        ),
        remarks=("a remark\nin two lines",),
    )
    assert [site.url for site in config.sites] == ["https://own.example", "https://a.example"]
    assert rejected == ("place 2: the name 'a' is taken, by http: place 1",)
    _, _, shown = config.masked.partition("--- # discovered by http\n")
    assert shown == (
        "# a remark\\nin two lines\n"
        "# rejected: place 2: the name 'a' is taken, by http: place 1\n"
        "sites:\n"
        "# shop: the list has a site of this name\n"
        '  - url: "https://a.example"\n'
        '    name: "a"\n'
    )


def test_secrets_of_what_is_discovered_are_masked(config_of):
    """They appear neither in names nor in /config nor in the error of a bad entry."""
    config, rejected = adopt(
        config_of(HTTP),
        {"url": "https://u:hunter22@a.example/x", "http": {"headers": {"Cookie": "hunter23"}}},
        {"url": "https://u:hunter22@a.example:x/"},
        {"url": "https://b.example", "http": {"basic_auth": {"username": "u"}}},
    )
    (site,) = config.sites
    assert site.name == "a.example/x"
    assert {"hunter22", "hunter23"} <= config.secrets()
    assert len(rejected) == 2
    assert "hunter" not in "".join((config.masked, *rejected))


def test_only_what_changed_is_read_again(config_of):
    """If one of many entries changes, the other sites stay the same objects."""
    config = config_of(HTTP)
    adoption = config.adoption(TABLES)

    def sites(*paths):
        entries = tuple(
            ListedSite({"url": f"https://a.example/{number}{path}", "name": str(number)}, "p")
            for number, path in enumerate(paths)
        )
        return adoption.adopt({"http": SourceContents(entries)}).sites

    before = sites("", "", "")
    after = sites("", "x", "")
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert after[1].url == "https://a.example/1x"


def test_dependencies_hold_over_list_and_sources(config_of):
    """Names and labels work in both directions; unknown receivers and circles are reported."""
    config = config_of(
        "notify: {receivers: [{name: chat, apprise: 'json://127.0.0.1:1'}]}\n"
        "sites:\n"
        "  - {name: gate, url: https://gate.example, labels: {tier: edge}}\n"
        "  - {name: shop, url: https://shop.example, depends_on: [{tier: core}, found]}\n"
        "discover:\n"
        "  - {http: {url: 'http://h/'}, defaults: {depends_on: [{tier: edge}], notify: [chat]}}\n"
    )
    found = {"url": "https://a.example", "name": "found", "labels": {"tier": "core"}}
    good, rejected = adopt(config, found, {"url": "https://b.example", "notify": ["nobody"]})
    parents = {site.name: site.depends_on for site in good.sites}
    assert parents == {"gate": (), "shop": ("found",), "found": ("gate",)}
    assert rejected == ("place 1: notify[0]: 'nobody': unknown receiver; choose from chat",)
    circle, rejected = adopt(config, {**found, "depends_on": ["shop"]})
    assert [site.name for site in circle.sites] == ["gate", "shop", "found"]
    (message,) = rejected
    assert "goes in a circle" in message


def test_deep_data_of_others_is_refused(config_of):
    """JSON may be nested as deeply as its reader allows, and a site at most 50 levels."""
    deep: object = "x"
    for _ in range(60):
        deep = [deep]
    _, rejected = adopt(config_of(HTTP), {"url": "https://a.example", "labels": deep})
    assert rejected == ("place 0: is nested deeper than 50 levels",)


def test_pages_may_name_what_is_yet_to_be_discovered(config_of, problems_of):
    """A page that names an unknown site is an error only if there are no sources."""
    page = "pages: [{path: /p, title: t, sites: [later], groups: [g], labels: {a: b}}]\n"
    assert config_of(HTTP + page).published.pages
    assert len(problems_of(f"sites: [https://a.example]\n{page}")) == 3
