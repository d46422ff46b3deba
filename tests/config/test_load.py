"""Files become sites: defaults, includes, folders, and the place of each problem."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.analysis.jsonpath import parse_path
from monitor.analysis.readings import Extraction, Watch
from monitor.app.tables import TABLES
from monitor.config.load import load, load_record, load_text
from monitor.config.settings import HistorySettings, Settings
from monitor.errors import ConfigError
from monitor.model import Confirm
from tests.config.tables import Color, Login, NetOptions, PingOptions, Step, WebOptions


def test_a_bare_url_is_a_whole_site(files):
    """It gets every default, and its name is the URL without scheme and last slash."""
    (site,) = files.load("sites: [https://example.com/]").sites
    assert (site.name, site.url, site.target) == ("example.com", *["https://example.com/"] * 2)
    assert (site.scheme, site.group, site.labels) == ("https", "", ())
    assert (site.interval, site.timeout, site.confirm) == (60.0, 10.0, Confirm())
    assert site.options == (WebOptions(), NetOptions())
    assert (site.expect, site.reads_body) == ((("status", (200,)),), False)
    assert site.secrets == ()


def test_every_type_is_decoded(files):
    """Each type of the language is decoded into the type that its record declares."""
    files.write("body.json", "{}")
    text = """
        sites:
          - name: shop
            url: https://example.com
            group: storefront
            labels: {team: web, tier: "1"}
            interval: 1m30s
            timeout: 500ms
            confirm: {failures: 3, retry_interval: 2s}
            web:
              method: POST
              headers: {Accept: "*/*", 'X-Y': z}
              login: {username: u, password: p}
              body_file: body.json
              follow: false
              hops: 0x10
              ratio: 1
              version: 1.1
              color: green
              limit: 64KiB
              pause: 80ms
              tags: [a, yes, 12:30]
              steps: [{send: hi}, {expect: "^ok"}]
              proxy: null
            expect: {body: {contains: x}, status: [200, 204], latency: 2s}
    """
    (site,) = files.load(text).sites
    assert (site.name, site.group) == ("shop", "storefront")
    assert site.labels == (("team", "web"), ("tier", "1"))
    assert (site.interval, site.timeout) == (90.0, 0.5)
    assert site.confirm == Confirm(failures=3, successes=1, retry_interval=2.0)
    assert site.section(WebOptions) == WebOptions(
        method="POST",
        headers={"Accept": "*/*", "X-Y": "z"},
        login=Login(username="u", password="p"),
        body_file=str(files.folder / "body.json"),
        follow=False,
        hops=16,
        ratio=1.0,
        version="1.1",
        color=Color.GREEN,
        limit=65536,
        pause=0.08,
        tags=("a", "yes", "12:30"),
        steps=(Step(send="hi"), Step(expect="^ok")),
        proxy=None,
    )
    assert site.expect == (
        ("status", (200, 204)),
        ("body", (("contains", "x"),)),
        ("latency", 2.0),
    )
    assert site.reads_body


def test_texts_are_exactly_texts(files):
    """Records hold plain str, since pickling would drag the loader's own types along."""
    (site,) = files.load("sites: [{url: https://example.com, web: {method: A}}]").sites
    texts = (site.name, site.url, site.target, site.scheme, site.section(WebOptions).method)
    assert {type(text) for text in texts} == {str}


def test_a_field_named_like_a_keyword_has_its_key_without_the_underscore(files):
    """The key of the field ``class_`` is ``class``."""
    (site,) = files.load("sites: [{url: ping://example.com, ping: {class: CH}}]").sites
    assert site.section(PingOptions).class_ == "CH"


# ---------------------------------------------------------------- defaults


def test_defaults_lie_below_each_site_key_by_key(files):
    """Mappings are merged at every depth; scalars and lists are replaced."""
    text = """
        defaults:
          group: all
          labels: {team: web, tier: gold}
          web: {headers: {A: a, B: b}, tags: [x, y], hops: 3}
        sites:
          - https://example.com
          - url: https://example.org
            labels: {tier: silver}
            web: {headers: {B: c}, tags: [z]}
    """
    first, second = files.load(text).sites
    assert first.section(WebOptions).headers == {"A": "a", "B": "b"}
    assert second.section(WebOptions) == WebOptions(
        headers={"A": "a", "B": "c"}, tags=("z",), hops=3
    )
    assert (second.group, second.labels) == ("all", (("team", "web"), ("tier", "silver")))


def test_defaults_of_other_schemes_are_passed_over(files):
    """A section or expectation in defaults applies only to the sites that may have it."""
    text = """
        defaults: {web: {hops: 3}, ping: {count: 5}, expect: {status: 404, latency: 1s}}
        sites: [https://example.com, "ping://192.0.2.1"]
    """
    web, ping = files.load(text).sites
    assert web.options == (WebOptions(hops=3), NetOptions())
    assert ping.options == (PingOptions(count=5), NetOptions())
    assert (web.expect, ping.expect) == (
        (("status", (404,)), ("latency", 1.0)),
        (("latency", 1.0),),
    )


def test_a_default_that_is_a_mistake_is_not_passed_over(tmp_path):
    """Otherwise an expression of a wrong type would let a site pass unjudged."""
    path = tmp_path / "sites.yaml"
    path.write_text("""
        defaults: {expect: {that: size(status) == 7}}
        sites: [https://a.example, "grpc://a.example:1", "icmp://192.0.2.1"]
    """)
    with pytest.raises(ConfigError) as caught:
        load(path, TABLES, {})
    (problem,) = caught.value.problems
    why = "defaults.expect.that: http checks cannot evaluate it: there is no 'size' with these"
    assert (problem.line, problem.column) == (2, 35)
    assert problem.message.startswith(why)


@pytest.mark.parametrize("name", ["a" * 5000, "loop"])
def test_a_path_that_cannot_be_looked_at_is_told(files, name):
    """The error comes for the list itself, an included file and the folder of a pattern."""
    (files.folder / "loop").symlink_to("loop")
    assert "cannot be read: " in files.problems(name=name)[0]
    (problem,) = files.problems(f"include: [{name}]\nsites: [https://a.example]")
    assert problem.startswith(f"sites.yaml:1:11: include[0]: {name} cannot be read: ")
    (problem,) = files.problems(f"include: ['{name}/*.yaml']\nsites: [https://a.example]")
    assert problem.startswith(f"sites.yaml:1:11: include[0]: {name} cannot be read: ")


@pytest.mark.parametrize("pattern", ["gone/*.yaml", "here/*.yaml", "*/nobody.yml", "gone/?/*"])
def test_a_pattern_that_matches_nothing_is_a_mistake(files, pattern):
    """Otherwise a folder that was moved or is not mounted would silently drop its sites."""
    files.write("here/notes.txt", "")
    (problem,) = files.problems(f"include: ['{pattern}']\nsites: [https://a.example]")
    nothing = f"{pattern} matches no *.yaml and no *.yml file; add one, or remove the pattern"
    assert problem == f"sites.yaml:1:11: include[0]: {nothing}"


NOTHING = "is empty; write URLs below sites:, or sites: [] to list none"


@pytest.mark.parametrize(
    "text", ["", "\n", "# sites: [https://b.example]\n", "---\n", "---\n...\n", "null\n", "~", "{}"]
)
@pytest.mark.parametrize("included", [False, True], ids=["in a folder", "included"])
def test_a_file_that_holds_nothing_is_a_mistake(files, text, included):
    """An emptied, cut off or commented-out file is refused; ``sites: []`` drops its sites."""
    lead = "include: [b.yaml]\n" if included else ""
    files.write("conf/a.yaml", f"{lead}sites: [https://a.example]")
    files.write("conf/b.yaml", text)
    name = "conf/a.yaml" if included else "conf"
    assert files.problems(name=name) == [f"conf/b.yaml:1:1: {NOTHING}"]
    files.write("conf/b.yaml", "sites: []")
    assert [site.name for site in files.load(name=name).sites] == ["a.example"]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("sites:\n", "2:7: sites: is empty; list URLs, or write [] to list none"),
        ("sites: ~\n", "2:8: sites: is empty; list URLs, or write [] to list none"),
        ("connectivity:\n", "2:14: connectivity: is empty; list URLs, or write [] to have none"),
        ("modules: null\n", "2:10: modules: is empty; list modules, or write {} to have none"),
        ("include:\n", "2:9: include: must be a list of paths"),
        (
            "defaults: {group: b}\n",
            "2:1: defaults: apply to no site: the file has neither sites nor include nor discover",
        ),
        (
            "defaults:\n",
            "2:1: defaults: apply to no site: the file has neither sites nor include nor discover",
        ),
        (
            "x-more: [https://b.example]\nsites:\n",
            "3:7: sites: is empty; list URLs, or write [] to list none",
        ),
    ],
)
def test_a_file_that_ends_at_a_key_is_a_mistake(files, rest, said):
    """A file cut off at a key would otherwise be a valid file with no sites."""
    files.write("conf/a.yaml", "sites: [https://a.example]")
    files.write("conf/b.yaml", f"# ours\n{rest}")
    assert files.problems(name="conf") == [f"conf/b.yaml:{said}"]


def test_an_empty_secret_is_a_mistake(files):
    """A token file may be empty while it is being written, and an empty token cannot log in."""
    files.write("token", "\n")
    text = "sites: [{url: https://a.example, web: {token: '${file:token}'}}]"
    (problem,) = files.problems(text)
    assert problem.endswith("token is empty")
    files.write("token", "t0ken\n")
    assert files.load(text).sites


UNITS = "B, kB, KB, MB, GB, KiB, MiB, GiB, TiB"


def test_numbers_are_quoted_as_they_are_written(files):
    """The error quotes the author's spelling, not the number that YAML reads."""
    text = """
        sites:
          - url: https://a.example
            group: 1.10
            labels: {a: 017, b: 0x10, c: 1e3, d: TRUE, e: -0, f: .5, g: +1, h: 5}
            web: {hops: 1.50, follow: 0x1, version: 1.10, limit: 0x10, pause: 017, tags: [00]}
            expect: {latency: 1e3, status: [[0x1F]]}
    """
    assert [one.partition("]")[2] for one in files.problems(text)] == [
        ".group: must be text; put 1.10 in quotes",
        ".labels.a: must be text; put 017 in quotes",
        ".labels.b: must be text; put 0x10 in quotes",
        ".labels.c: must be text; put 1e3 in quotes",
        ".labels.d: must be text; put TRUE in quotes",
        ".labels.e: must be text; put -0 in quotes",
        ".labels.f: must be text; put .5 in quotes",
        ".labels.g: must be text; put +1 in quotes",
        ".labels.h: must be text; put 5 in quotes",
        ".web.hops: must be a whole number, not 1.50",
        ".web.follow: must be true or false, not 0x1",
        ".web.version: must be auto, 1.1 or 2, not 1.10",
        ".web.limit: 0x10 has no unit; write 16B, or another of " + UNITS,
        ".web.pause: 017 has no unit; write 17s, or another of ms, s, m, h, d, w",
        ".web.tags[0]: must be text; put 00 in quotes",
        ".expect.latency: 1e3 has no unit; write 1000.0s, or another of ms, s, m, h, d, w",
        ".expect.status: [[0x1F]] is not a status such as 200",
    ]


def test_numbers_are_exactly_numbers(files):
    """The spelling serves messages alone: records hold plain int and float."""
    text = (
        "sites: [{url: https://a.example, web: {hops: 0x10, ratio: 5e-1}, expect: {status: 0xC8}}]"
    )
    (site,) = files.load(text).sites
    options = site.section(WebOptions)
    (status,) = dict(site.expect)["status"]
    values = (options.hops, options.ratio, status)
    assert values == (16, 0.5, 200)
    assert [type(value) for value in values] == [int, float, int]


def test_extensions_are_for_anchors(files):
    """Top-level x-… keys, as in Compose files, count only through aliases to their anchors."""
    config = files.load("""
        x-login: &login {login: {username: u, password: geheim}, hops: 3}
        x-urls: [&first https://a.example]
        sites:
          - {url: *first, web: {<<: *login, hops: 5}}
    """)
    (site,) = config.sites
    assert site.section(WebOptions).login == Login(username="u", password="geheim")
    assert site.section(WebOptions).hops == 5
    assert "geheim" not in config.masked
    assert "x-" not in config.masked
    assert files.problems("y-login: {}\nsites: [https://a.example]") != []
    assert files.problems("sites: [{url: https://a.example, x-note: 1}]") != []


def test_sites_share_the_records_of_their_defaults(files):
    """What sites have in common is decoded and kept once."""
    text = "defaults: {web: {hops: 3}}\nsites: [https://a.example, https://b.example]"
    first, second = files.load(text).sites
    assert all(one is other for one, other in zip(first.options, second.options, strict=True))


def test_sites_share_whatever_is_equal(files):
    """Equal values are one object, since many sites differ only in names and URLs."""
    first, second = files.load(
        "defaults: {interval: 30s, group: shop, labels: {team: web}}\n"
        "sites: [https://a.example, https://b.example]\n"
    ).sites
    for name in ("scheme", "group", "labels", "interval", "timeout", "options", "expect"):
        assert getattr(first, name) is getattr(second, name), name
    assert first.url is first.target


def test_defaults_may_be_completed_by_the_site(files):
    """A rule about a whole record is checked on the site, not on the defaults alone."""
    text = """
        defaults: {web: {login: {username: u}}}
        sites: [{url: https://example.com, web: {login: {password: p}}}]
    """
    (site,) = files.load(text).sites
    assert site.section(WebOptions).login == Login(username="u", password="p")


@pytest.mark.parametrize(
    ("keys", "timeout"),
    [("interval: 5s", 5.0), ("interval: 1h", 10.0), ("interval: 5s, timeout: 2s", 2.0)],
)
def test_an_unwritten_timeout_is_no_longer_than_the_interval(files, keys, timeout):
    """The default is 10 s, or the interval if that is shorter."""
    (site,) = files.load(f"sites: [{{url: https://example.com, {keys}}}]").sites
    assert site.timeout == timeout


# ---------------------------------------------------------------- YAML


def test_anchors_aliases_and_merge_keys_work(files):
    """A mapping's own keys win over merged ones, and the first merge wins."""
    text = """
        sites:
          - &shop
            url: https://example.com
            group: a
            interval: 5s
          - <<: *shop
            url: https://example.org
          - <<: [{interval: 7s}, *shop]
            url: https://example.net
    """
    sites = files.load(text).sites
    assert [site.interval for site in sites] == [5.0, 5.0, 7.0]
    assert [site.name for site in sites] == ["example.com", "example.org", "example.net"]


def test_a_quoted_merge_key_is_a_key(files):
    """Only a plain ``<<`` merges."""
    assert files.problems("sites: [{url: https://a.example, '<<': {group: a}}]") == [
        "sites.yaml:1:34: sites[0]['<<']: unknown option"
    ]


def test_a_great_many_aliases_are_no_bomb(files):
    """A list that uses one anchor for 2,000 sites is read."""
    head = "defaults: {labels: &l {a: b, c: d}}\nsites:\n"
    sites = "".join(
        f"  - {{url: https://{n}.example, labels: *l, web: {{headers: *l}}}}\n" for n in range(2000)
    )
    assert len(files.load(head + sites).sites) == 2000


def test_bom_and_windows_newlines_are_read(files):
    """Files from Windows editors load, with a byte order mark and CRLF."""
    config = files.load(b"\xef\xbb\xbfsites:\r\n  - https://example.com\r\n")
    assert [site.name for site in config.sites] == ["example.com"]


# ---------------------------------------------------------------- files


def test_included_files_add_their_sites_and_defaults(files):
    """An included file inherits the defaults of the including file, and not the reverse."""
    files.write(
        "teams/a.yaml",
        "defaults: {group: a}\nsites: [https://a.example]\ninclude: [deep/d.yaml]",
    )
    files.write("teams/deep/d.yaml", "sites: [https://d.example]")
    files.write("teams/b.yml", "sites: [https://b.example]")
    files.write("teams/README.md", "not: [yaml")
    files.write("teams/.hidden.yaml", "not: [yaml")
    config = files.load(
        "defaults: {group: all, interval: 5s}\ninclude: [teams/*]\nsites: [https://main.example]"
    )
    assert [(site.name, site.group, site.interval) for site in config.sites] == [
        ("main.example", "all", 5.0),
        ("a.example", "a", 5.0),
        ("d.example", "a", 5.0),
        ("b.example", "all", 5.0),
    ]
    watched = ["sites.yaml", "teams", "teams/a.yaml", "teams/deep/d.yaml", "teams/b.yml"]
    assert set(config.files) == {files.folder / name for name in watched}


def test_a_pattern_for_the_own_folder_does_not_mean_the_own_file(files):
    """``include: ["*.yaml"]`` includes the other files of the folder."""
    files.write("b.yaml", "sites: [https://b.example]")
    config = files.load('include: ["*.yaml"]\nsites: [https://a.example]', name="a.yaml")
    assert [site.name for site in config.sites] == ["a.example", "b.example"]


def test_a_folder_is_read_file_by_file(files):
    """Files are read in order of name, share no defaults, and the folder is watched."""
    files.write("conf/b.yaml", "sites: [https://b.example]")
    files.write("conf/a.yml", "defaults: {group: a}\nsites: [https://a.example]")
    files.write("conf/.c.yaml", "nonsense")
    files.write("conf/settings.yaml", "history: {results: 7}")
    config = files.load(name="conf")
    assert [(site.name, site.group) for site in config.sites] == [
        ("a.example", "a"),
        ("b.example", ""),
    ]
    assert config.settings == Settings(history=HistorySettings(results=7))
    names = ["conf", "conf/a.yml", "conf/b.yaml", "conf/settings.yaml"]
    assert config.files == tuple(files.folder / name for name in names)


def test_problems_of_all_files_come_in_one_run(files):
    """Each has its path relative to the including file, and they are sorted by place."""
    files.write("teams/a.yaml", "sites: [{url: https://a.example, name: x, grup: y}]")
    files.write("teams/b.yaml", "sites: [\nhistory: {}")
    files.write("teams/c.yaml", "sites: [{url: https://a.example, name: x}]\nhistory: {}")
    text = (
        "include: [teams/*.yaml]\nhistory: {}\nsites: [{url: https://c.example, name: x}, htp://a]"
    )
    assert files.problems(text) == [
        "sites.yaml:3:44: sites[1]: unknown scheme 'htp'; did you mean 'http'?",
        "teams/a.yaml:1:43: sites[0].grup: unknown option; did you mean 'group'?",
        (
            "teams/b.yaml:3:1: is not YAML: while parsing a flow sequence"
            " did not find expected ',' or ']'"
        ),
        (
            "teams/c.yaml:1:40: sites[0].name: the name 'x' is taken, at sites.yaml:3:40;"
            " give this site another"
        ),
        (
            "teams/c.yaml:2:1: history: is already set, at sites.yaml:2:1;"
            " set it once over all files"
        ),
    ]


def test_includes_in_a_circle_are_reported(files):
    """The error names each file of a circle through several files."""
    files.write("b.yaml", "include: [c.yaml]")
    files.write("c.yaml", "include: [sites.yaml]")
    assert files.problems("include: [b.yaml]\nsites: [https://a.example]") == [
        (
            "c.yaml:1:11: include[0]: includes go in a circle: sites.yaml → b.yaml → c.yaml"
            " → sites.yaml"
        )
    ]


def test_a_file_is_read_once(files):
    """A second include of a file, under any name, is an error."""
    files.write("b.yaml", "sites: [https://b.example]")
    (files.folder / "c.yaml").symlink_to("b.yaml")
    assert files.problems("include: [b.yaml, c.yaml]") == [
        "sites.yaml:1:19: include[1]: c.yaml was read already, as b.yaml"
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _path: None, "there is no file sites.yaml"),
        (lambda path: path.mkdir(), "holds no *.yaml and no *.yml file"),
        (lambda path: path.symlink_to("/dev/null"), "sites.yaml is a device, pipe or socket"),
        (lambda path: path.symlink_to("sites.yaml"), "sites.yaml cannot be read: too many levels"),
    ],
    ids=["missing", "empty folder", "device", "loop"],
)
def test_what_is_no_file_is_named(files, make, message):
    """The error is one sentence, and nothing is opened that the load would wait for."""
    make(files.folder / "sites.yaml")
    (problem,) = files.problems()
    assert problem.startswith(f"sites.yaml:1:1: {message}")


def test_a_failed_load_tells_what_it_read(files):
    """The error lists every file read, so that a fix in any of them is noticed."""
    files.write("a.yaml", "sites: [}")
    files.write("sites.yaml", "include: [a.yaml, b.yaml]\nsites: ['https://x/${file:token}']")
    with pytest.raises(ConfigError) as caught:
        files.load()
    names = ["sites.yaml", "a.yaml", "b.yaml", "token"]
    assert caught.value.files == tuple(files.folder / name for name in names)


def test_relative_paths_stay_relative(files, monkeypatch, tables):
    """Problems name files as the user wrote them."""
    monkeypatch.chdir(files.folder)
    files.write("config/sites.yaml", "include: [more/a.yaml]\nsites: [https://a.example]")
    files.write("config/more/a.yaml", "sites: [x]")
    with pytest.raises(ConfigError) as caught:
        load(Path("config/sites.yaml"), tables, {})
    assert str(caught.value) == ("config/more/a.yaml:1:9: sites[0]: has no scheme; write https://x")


# ---------------------------------------------------------------- other ways in


def test_a_text_is_a_configuration(tables):
    """Flags of the command line are decoded as a file is."""
    config = load_text('{"sites": [{"url": "https://example.com"}]}', tables, {})
    assert [site.name for site in config.sites] == ["example.com"]


def test_a_record_is_decoded_from_a_file_of_its_own(files):
    """It is as strict as the configuration and substitutes too; a lone dollar stays."""
    path = files.write("login.yaml", "username: $2y$10$u\npassword: ${P}")
    assert load_record(path, Login, {"P": "p"}) == Login(username="$2y$10$u", password="p")


def test_a_bad_record_is_told_what_is_wrong(files):
    """Each problem of the record is reported as one of the configuration is."""
    path = files.write("login.yaml", "user: u\npassword: p")
    with pytest.raises(ConfigError) as caught:
        load_record(path, Login, {})
    assert [problem.message for problem in caught.value.problems] == [
        "user: unknown option; did you mean 'username'?",
        "username: must be given",
    ]


def test_an_empty_mapping_is_a_record_of_defaults(files):
    """{} means all defaults; an empty file is refused: it would drop users and certificates."""
    assert load_record(files.write("net.yaml", "{}"), NetOptions, {}) == NetOptions()
    for text in ("", "# {}\n", "null"):
        with pytest.raises(ConfigError, match=r"holds nothing; write \{\} where all defaults"):
            load_record(files.write("net.yaml", text), NetOptions, {})


# ---------------------------------------------------------------- comparing


def test_the_same_files_make_equal_configurations(files):
    """A reload compares configurations for equality."""
    text = "defaults: {web: {tags: [a]}}\nsites: [https://example.com, {url: ping://a.example}]"
    assert files.load(text) == files.load()


def test_settings_are_decoded_once_over_all_files(files):
    """Settings that are not written have their defaults."""
    config = files.load("shutdown_grace: 3s\nhistory: {failures: 2}\nsites: [https://a.example]")
    assert config.settings == Settings(shutdown_grace=3.0, history=HistorySettings(failures=2))


def test_connectivity_targets_are_sites_of_their_own(files):
    """They ignore defaults, have a timeout of 5 s, and their secrets are masked."""
    files.environ["KEY"] = "s3cr3t"
    config = files.load("""
        connectivity: [ping://192.0.2.1, "http://u:geheim@a.test/?k=${KEY}"]
        defaults: {interval: 1s, expect: {status: 500}}
        sites: [http://b.test]
    """)
    assert [one.scheme for one in config.connectivity] == ["ping", "http"]
    assert {one.timeout for one in config.connectivity} == {5.0}
    assert [one.name for one in config.sites] == ["b.test"]
    assert {"s3cr3t", "geheim"} <= config.secrets()
    assert "geheim" not in config.masked
    assert "s3cr3t" not in config.masked
    assert files.load("{connectivity: [], sites: [http://b.test]}").connectivity == ()
    assert files.problems("{connectivity: x, sites: [http://b.test]}") == [
        "sites.yaml:1:16: connectivity: must be a list of URLs"
    ]


def test_what_is_taken_out_of_answers_is_read(files):
    """Values and the watch are decoded, need the body only if they read it, and may be defaults."""
    text = r"""
        defaults: {extract: {depth: {json: $.queue.depth}}}
        sites:
          - url: https://a.example
            extract: {version: {matches: 'v(\d+)', label: true}}
            watch: {content: sha256, css: "#price > b", fail: true}
          - {url: https://b.example, extract: {depth: {json: null, header: X-Depth}}}
          - url: ping://c.example
    """
    both, header, ping = files.load(text).sites
    assert both.extract == {
        "depth": Extraction(json=parse_path("$.queue.depth")),
        "version": Extraction(matches=r"v(\d+)", label=True),
    }
    assert both.watch == Watch(content="sha256", css="#price > b", fail=True)
    assert header.extract == {"depth": Extraction(header="x-depth")}
    assert [one.reads_body for one in (both, header, ping)] == [True, False, False]
    assert (ping.extract, ping.watch) == (None, None)


def test_a_site_may_not_depend_on_the_connection(files):
    """At a site or in defaults connectivity is true or false; at the top it lists URLs."""
    text = """
        defaults: {connectivity: false}
        connectivity: [https://c.example]
        sites:
          - https://a.example
          - {url: https://b.example, connectivity: true}
    """
    config = files.load(text)
    assert [site.connectivity for site in config.sites] == [False, True]
    assert [site.url for site in config.connectivity] == ["https://c.example"]
    assert files.problems("sites: [{url: http://b.test, connectivity: 1}]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "sites: [{name: a, url: http://a.test}, {name: b, url: http://b.test, was: a}]",
            (
                "sites.yaml:1:75: sites[1].was: names 'a', which is still listed, at"
                " sites.yaml:1:16, and keeps its memory"
            ),
        ),
        (
            "sites: [{name: a, url: http://a.test, was: c}, {name: b, url: http://b.test, was: c}]",
            "sites.yaml:1:83: sites[1].was: names 'c', whose memory 'a' carries on already",
        ),
        (
            "sites: [{name: a, url: http://a.test, was: [c]}]",
            "sites.yaml:1:44: sites[0].was: must be text, not a list",
        ),
        (
            "defaults: {was: c}\nsites: [http://a.test]",
            "sites.yaml:1:12: defaults.was: belongs to a site, not to defaults",
        ),
        (
            "history: {store: mysql://me:geheim@db/x}\nsites: [http://a.test]",
            "sites.yaml:1:18: history: store must be a URL such as postgresql://HOST/DATABASE",
        ),
        (
            "history: {raw: 59m}\nsites: [http://a.test]",
            "sites.yaml:1:16: history.raw: must be at least 1h, not 59m",
        ),
        (
            "history: {five_minutes: 23h}\nsites: [http://a.test]",
            "sites.yaml:1:25: history.five_minutes: must be at least 1d, not 23h",
        ),
        (
            "history: {hourly: soon}\nsites: [http://a.test]",
            "sites.yaml:1:19: history.hourly: 'soon' is not a duration",
        ),
        (
            "history: {max_size: 1KiB}\nsites: [http://a.test]",
            "sites.yaml:1:21: history.max_size: must be at least 16MiB, not 1KiB",
        ),
        (
            "history: {weekly: 1d}\nsites: [http://a.test]",
            "sites.yaml:1:11: history.weekly: unknown option",
        ),
    ],
)
def test_a_mistake_about_the_memory_is_told_at_its_place(files, text, problem):
    """Former names and wrong durations get the right form; no password is shown."""
    [told] = files.problems(text)
    assert told.startswith(problem)
    assert "geheim" not in told


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("2026-12-01T22:00", "UTC"),
        ("2026-12-01 22:00:00Z", "UTC"),
        ("2026-12-01T22:00Z", "Europe/Berlin"),
        ("2026-12-01T23:00", "Europe/Berlin"),
        ("2026-12-01T17:00-05:00", "Europe/Berlin"),
    ],
)
def test_a_moment_is_in_the_zone_beside_it_or_says_its_own(files, written, zone):
    """Maintenance and announcements begin at the same moment in every notation."""
    meant = datetime(2026, 12, 1, 22, tzinfo=UTC)
    config = files.load(f"""
        pages: [{{path: /status, title: A, groups: [g]}}]
        announcements: [{{at: "{written}", title: A, timezone: {zone}}}]
        sites:
          - url: https://example.com
            group: g
            maintenance: [{{start: "{written}", end: 2026-12-02T04:00+00:00, timezone: {zone}}}]
    """)
    ((window,),) = [site.maintenance for site in config.sites]
    assert window.start.replace(tzinfo=window.zone) == meant
    assert window.end.replace(tzinfo=window.zone) == meant + timedelta(hours=6)
    (announcement,) = config.published.announcements
    assert announcement.begin == meant.timestamp()
