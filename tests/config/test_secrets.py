"""What is substituted, what is secret, and that secrets are shown nowhere."""

import re
from urllib.parse import unquote

import pytest
import yaml

from monitor.secrecy import every_form, parts_of_url, redact
from tests.config.tables import Login, Step, WebOptions


def test_references_are_resolved_in_every_value(files):
    """References take the environment, a default or a file; ``$$`` and a lone ``$`` are dollars."""
    files.environ = {"METHOD": "PUT", "EMPTY": "", "N": "5"}
    files.write("run/token", "t0ken\n")
    text = """
        sites:
          - url: https://example.com
            web:
              method: ${METHOD}
              headers: {A: "${NOBODY:-x y}", B: "${EMPTY:-empty}", C: "${EMPTY}", D: "1${N}1"}
              token: ${file:run/token}
              tags: ["$$", "$${METHOD}", "a$", "$x", "$$$$"]
              steps: [{send: "${N}", expect: "${N}"}]
    """
    (site,) = files.load(text).sites
    assert site.section(WebOptions) == WebOptions(
        method="PUT",
        headers={"A": "x y", "B": "empty", "C": "", "D": "151"},
        token="t0ken",
        tags=("$", "${METHOD}", "a$", "$x", "$$"),
        steps=(Step(send="5", expect="5"),),
    )
    assert site.secrets == ("t0ken", "PUT", "5")


def test_what_is_substituted_has_the_type_that_is_wanted(files):
    """A substituted value gets the type of its option, as if it were written there."""
    files.environ = {"I": "15s", "N": "7", "B": "false", "C": "404", "V": "1.1"}
    text = """
        sites:
          - url: https://example.com
            interval: ${I}
            confirm: {failures: "${N:-1}"}
            web: {hops: 5, version: "${V}"}
            expect:
              status: ${C}
          - url: https://example.org
            interval: ${I}
            web:
              hops: ${N}
              follow: ${B}
              token: ${N}
              ratio: ${V}
    """
    first, second = files.load(text).sites
    assert (first.interval, first.expect[0]) == (15.0, ("status", (404,)))
    assert first.confirm.failures == 7
    assert first.section(WebOptions).version == "1.1"
    assert second.section(WebOptions) == WebOptions(hops=7, follow=False, token="7", ratio=1.1)


def test_quotes_around_more_than_a_reference_make_a_text(files):
    """A quoted value that is more than one reference is text, as any quoted value is."""
    files.environ = {"N": "7"}
    (problem,) = files.problems('sites: [{url: https://example.com, web: {hops: "1${N}"}}]')
    assert problem.endswith("sites[0].web.hops: must be a whole number, not '1${N}'")


def test_keys_are_not_substituted(files):
    """References are resolved in values, never in keys."""
    files.environ = {"K": "group"}
    (problem,) = files.problems('sites: [{url: https://example.com, "${K}": x}]')
    assert "sites[0]['${K}']: unknown option" in problem


def test_a_reference_is_resolved_once(files):
    """References in a variable's value stay as they are, and an alias does not resolve again."""
    files.environ = {"A": "${B}", "D": "$$"}
    text = """
        sites:
          - url: https://example.com
            web: {tags: [&a "${A}", *a, &d "${D}", *d]}
    """
    (site,) = files.load(text).sites
    assert site.section(WebOptions).tags == ("${B}", "${B}", "$$", "$$")


def test_a_file_counts_from_the_yaml_file_that_names_it(files):
    """A path is relative to the YAML file that holds it, even an included one or its defaults."""
    files.write("secret", "top")
    files.write("teams/secret", "team")
    files.write("teams/a.yaml", 'sites: [{url: https://a.example, web: {token: "${file:secret}"}}]')
    files.write("teams/b.yaml", "sites: [https://b.example]")
    a, b = files.load(
        'include: [teams/*.yaml]\ndefaults: {web: {body_file: secret, token: "${file:secret}"}}'
    ).sites
    assert (a.section(WebOptions).token, b.section(WebOptions).token) == ("team", "top")
    assert a.section(WebOptions).body_file == str(files.folder / "secret")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "is not UTF-8"), (b"x" * 1024**2 + b"y", "is larger than 1MiB")],
    ids=["binary", "huge"],
)
def test_a_file_that_holds_no_secret_is_reported(files, content, message):
    """The error names the file's path, at the place of the reference."""
    files.write("token", content)
    assert files.problems('sites: ["https://example.com/${file:token}"]') == [
        f"sites.yaml:1:9: sites[0]: token {message}"
    ]


@pytest.mark.parametrize(
    "content", [b"tok", b"tok\n", b"tok\r\n", b"tok\n\n", b"\xef\xbb\xbftok\r\n\r\n"], ids=repr
)
def test_what_editors_put_around_a_secret_is_no_part_of_it(files, content):
    """A byte order mark and line endings are removed, since the site would refuse such a token."""
    files.write("secret", content)
    (site,) = files.load('sites: [{url: https://a.example, web: {token: "${file:secret}"}}]').sites
    assert site.section(WebOptions).token == "tok"


def test_bytes_in_the_environment_that_are_no_text_are_reported(files):
    """A variable that is not UTF-8 is refused; os.environ holds it as surrogate escapes."""
    files.environ = {"RAW": "a\udcff"}
    assert files.problems('sites: ["https://example.com/${RAW}"]') == [
        "sites.yaml:1:9: sites[0]: the value of RAW in the environment is not UTF-8"
    ]


# ---------------------------------------------------------------- what is secret


def test_a_site_knows_every_secret_in_it(files):
    """Secrets are substituted values, secret options, logins and secret headers; longest first."""
    files.environ = {"E": "from-env"}
    text = """
        defaults: {web: {steps: [{send: "${E}"}]}}
        sites:
          - url: https://us%40er:pass@example.com/
            web:
              login: {username: admin, password: hunter2}
              headers: {Authorization: Bearer abcdef, X-Api-Key: kkkk, Accept: text/html}
              proxy: http://puser:ppass@proxy.example:3128
          - url: https://example.org
            web: {login: {username: admin, password: hunter2}, steps: []}
    """
    first, second = files.load(text).sites
    assert set(first.secrets) == {
        *("from-env", "us%2540er", "us%40er", "us@er", "pass", "hunter2", "puser", "ppass"),
        *("Bearer abcdef", "Bearer%20abcdef", "Bearer+abcdef", "abcdef", "kkkk"),
        *("dXNAZXI6cGFzcw==", "dXNAZXI6cGFzcw%3D%3D"),  # us@er:pass
        *("cHVzZXI6cHBhc3M=", "cHVzZXI6cHBhc3M%3D"),  # puser:ppass
    }
    assert list(first.secrets) == sorted(first.secrets, key=lambda one: (-len(one), one))
    assert second.secrets == ("hunter2",)


@pytest.mark.parametrize(
    "shown",
    [
        's3c["é%t',
        "s3c%5B%22%C3%A9%25t",
        "s3c[%22%C3%A9%t",
        "s3c%5B%22%C3%A9%t",
        's3c[\\"é%t',
        's3c[\\"\\u00e9%t',
        "s3c[&quot;é%t",
    ],
    ids=["plain", "quoted", "requests", "urllib3", "JSON", "ASCII JSON", "HTML"],
)
def test_a_secret_is_known_in_every_form_it_is_shown_in(files, shown):
    """A secret is masked in full, even URL-encoded or escaped in a page."""
    files.environ = {"E": 's3c["é%t'}
    (site,) = files.load("sites: [{url: https://example.com, web: {token: '${E}'}}]").sites
    assert site.redact(shown) == "<secret>"


def test_a_short_secret_is_searched_for_in_no_form(files):
    """A short secret has no encoded forms, which would mask parts of any text."""
    (site,) = files.load("sites: [{url: https://example.com, web: {token: é}}]").sites
    assert site.secrets == ("é",)


def test_a_default_in_the_text_is_no_secret(files):
    """A default is not masked, since anyone who reads the file sees it."""
    files.environ = {"SET": "hidden-path"}
    text = 'sites: ["https://example.com/${NOBODY:-shown}/${SET}"]'
    (site,) = files.load(text).sites
    assert site.secrets == ("hidden-path",)
    assert site.url == "https://example.com/shown/hidden-path"
    assert site.target == "https://example.com/shown/<secret>"
    assert site.name == "example.com/shown/<secret>"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://u:p@example.com/x", "https://example.com/x"),
        ("https://${USER}:${PASS}@example.com/", "https://example.com/"),
        ("HTTPS://example.com/?mail=a@b", "https://example.com/?mail=a@b"),
        ("https://${HOST}/x", "https://<secret>/x"),
        ("${URL}", "<secret>"),
    ],
)
def test_the_target_shows_no_credentials_and_nothing_substituted(files, url, target):
    """The target hides them however they came into the URL."""
    files.environ = {"USER": "u", "PASS": "pässword", "HOST": "a.example", "URL": "https://b.c"}
    (site,) = files.load(f'sites: ["{url}"]').sites
    assert site.target == target


def test_repr_and_equality(files):
    """A site's secrets count in comparisons and do not appear in its repr."""
    files.environ = {"E": "one-secret"}
    text = 'sites: [{url: "https://example.com/?k=${E}", web: {token: "tttt"}}]'
    config = files.load(text)
    assert "one-secret" not in repr(config.sites)
    assert "tttt" not in repr(config)
    files.environ = {"E": "other-secret"}
    assert files.load().sites != config.sites


# ---------------------------------------------------------------- the configuration as it is shown


def test_the_configuration_can_be_shown(files):
    """Each file is shown as written, one after the other, with each secret masked in place."""
    files.environ = {"TOKEN": "t0ken", "N": "3"}
    files.write("b.yaml", "sites: [{url: ping://b.example, ping: {count: 1}}]")
    text = """\
# the old password was hunter1
include: [b.yaml]
defaults:
  web: {headers: {Cookie: cc}}
history: {results: 5}
sites:
  - https://u:geheim@example.com/x
  - url: https://example.edu
    web: {token: "${NOBODY:-geheim}"}
  - name: "a: b"
    url: https://example.org/?k=${TOKEN}
    labels: {}
    web:
      token: ${TOKEN}
      hops: ${N}
      proxy: http://pu:geheim@proxy.example:1
      headers:
        Authorization: Bearer ${TOKEN}
        X-Token: geheim
        X-Secret: ${TOKEN}
        Accept: "*/*"
      tags: [yes, "5", "two\\nlines", "\\u2028"]
      steps: []
  - url: https://example.net
    web:
      login: {username: u, password: geheim}
    expect: {body: {contains: a}}
"""
    shown = files.load(text).masked.replace(f"{files.folder}/", "")
    assert (
        shown
        == """\
--- # sites.yaml
include:
  - b.yaml
defaults:
  web:
    headers:
      Cookie: <secret>
history:
  results: 5
sites:
  - https://<secret>@example.com/x
  - url: https://example.edu
    web:
      token: <secret>
  - name: "a: b"
    url: https://example.org/?k=${TOKEN}
    labels: {}
    web:
      token: ${TOKEN}
      hops: ${N}
      proxy: http://<secret>@proxy.example:1
      headers:
        Authorization: <secret>
        X-Token: <secret>
        X-Secret: ${TOKEN}
        Accept: "*/*"
      tags:
        - yes
        - "5"
        - "two\\nlines"
        - "\\u2028"
      steps: []
  - url: https://example.net
    web:
      login:
        username: u
        password: <secret>
    expect:
      body:
        contains: a
--- # b.yaml
sites:
  - url: ping://b.example
    ping:
      count: 1
"""
    )
    assert [len(document["sites"]) for document in yaml.safe_load_all(shown)] == [4, 1]


def test_credentials_in_a_record_are_decoded_and_not_shown(files):
    """The record holds the credentials, and the site's repr does not show them."""
    text = "sites: [{url: https://example.com, web: {login: {username: u, password: geheim}}}]"
    (site,) = files.load(text).sites
    assert site.section(WebOptions).login == Login(username="u", password="geheim")
    assert "geheim" not in repr(site)


def test_a_header_that_echoes_a_secret_is_masked():
    """A secret in UTF-8 is masked even after the header is read as Latin-1."""
    shown = redact("pw=" + "Pässw0rd".encode().decode("latin-1"), every_form(["Pässw0rd"]))
    assert shown == "pw=<secret>"


@pytest.mark.parametrize(
    ("url", "with_host", "shown"),
    [
        ("https://hooks.test/in/a1b2?v=1", False, "hooks.test in <secret> v 1"),
        ("https://hooks.test/bot12:t0k3n/x", False, "hooks.test <secret> <secret> x"),
        ("https://hooks.test/?verify=false&k3y-", False, "hooks.test verify false <secret>"),
        ("https://hooks.test/x%2Fs3cr?to=me%2Bn4me", False, "hooks.test x <secret> to me <secret>"),
        ("slack://T1JJ/B2ab/#ch4n", True, "<secret> <secret> <secret>"),
        (
            "tgram://12345:t0-K/?to=n4me&format=text",
            True,
            "<secret> <secret> to <secret> format text",
        ),
        ("json://[::1]:8080/localhost", True, "1 <secret> localhost"),
    ],
)
def test_each_part_of_a_url_that_is_secret_may_be_the_secret(url, with_host, shown):
    """Parts of 4 or more characters are masked; the host only if it may be a token."""
    pieces = re.split(r"[][/:?&=#+ ]+", unquote(url.partition("://")[2]))
    secrets = every_form(parts_of_url(url, with_host=with_host))
    assert redact(" ".join(filter(None, pieces)), secrets) == shown
