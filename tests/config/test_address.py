"""URLs are parsed strictly, and the probe gets them in ASCII."""

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import load_text
from monitor.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "url", "target"),
    [
        ("https://example.com", "https://example.com", "https://example.com"),
        ("HTTPS://Example.com/A", "https://Example.com/A", "https://Example.com/A"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/ü", "https://bücher.example/ü"),
        (
            "https://u:p@straße.example:8443/x",
            "https://u:p@xn--strae-oqa.example:8443/x",
            "https://straße.example:8443/x",
        ),
        ("https://[2001:db8::1]:443/", *["https://[2001:db8::1]:443/"] * 2),
        ("http://192.0.2.1:65535", *["http://192.0.2.1:65535"] * 2),
        ("https://a_b.example./", *["https://a_b.example./"] * 2),
        ("https://example.com?x=/y#z", *["https://example.com?x=/y#z"] * 2),
    ],
)
def test_a_good_url_is_taken(files, written, url, target):
    """The probe gets the host in ASCII, and people see it as written."""
    (site,) = files.load(f'sites: ["{written}"]').sites
    assert (site.url, site.target) == (url, target)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/", "example.com"),
        ("https://example.com/a/", "example.com/a"),
        ("ping://example.com", "example.com"),
        ("https://u:p@example.com:8443?x=1", "example.com:8443?x=1"),
    ],
)
def test_the_name_comes_from_the_url(files, url, name):
    """The name is the URL without scheme, credentials and last slash."""
    (site,) = files.load(f"sites: [{url}]").sites
    assert site.name == name


def test_a_rows_own_rule_never_quotes_a_secret(files):
    """The rule's message is used if it is about the URL as shown; otherwise nothing is quoted."""
    files.environ = {"HOST": "se/cret"}
    assert files.problems('sites: ["ping://${HOST}"]') == [
        "sites.yaml:1:9: sites[0]: is not a URL that ping checks can use"
    ]


@pytest.mark.parametrize(
    ("written", "offered"),
    [
        ("1.1.1.1:53", "tcp://1.1.1.1:53"),
        ("localhost:22", "tcp://localhost:22"),
        ("mail.example:25", "tcp://mail.example:25"),
        ("//db.example:5432", "tcp://db.example:5432"),
        ("2001:db8::1:53", "tcp://[2001:db8::1]:53"),
        ("[2001:db8::1]:53", "tcp://[2001:db8::1]:53"),
        ("::1", "https://[::1]"),
        ("1.1.1.1", "https://1.1.1.1"),
        ("shop.example", "https://shop.example"),
        ("shop.example/a:25", "https://shop.example/a:25"),
        ("shop.example:443/a", "https://shop.example:443/a"),
        ("shop.example:8443", "https://shop.example:8443"),
        ("shop.example:80/a", "http://shop.example:80/a"),
        ("shop.example:8080?x=1:2", "http://shop.example:8080?x=1:2"),
        ("shop.example:http", "https://shop.example:http"),
    ],
)
@pytest.mark.parametrize("key", ["sites", "connectivity"])
def test_a_scheme_is_offered_by_the_port(key, written, offered):
    """The error offers the usual scheme of the port, or a plain connection if there is none."""
    text = f"{key}: ['{written}']\nmodules: {{m: {{}}}}\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text, TABLES, {})
    (problem,) = caught.value.problems
    assert str(problem).endswith(f"{key}[0]: has no scheme; write {offered}")
