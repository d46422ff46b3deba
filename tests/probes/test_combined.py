"""Options of HTTP and WebSocket checks that cannot work together are refused with the list."""

import pytest

from monitor.errors import ConfigError

HTTP, HTTPS = "http://a.example/", "https://a.example/"
LOGIN = {"username": "u", "password": "p"}
READ = "but expect, extract or watch read it"

MISTAKES = {
    "HTTP/3 of an http URL": (
        {"url": HTTP, "http": {"version": "3"}},
        "http.version: is 3, and HTTP/3 needs an https URL",
    ),
    "HTTP/3 in an older TLS": (
        {"url": HTTPS, "http": {"version": "3"}, "tls": {"max_version": "1.2"}},
        "http.version: is 3, and HTTP/3 needs TLS 1.3; tls.max_version is 1.2",
    ),
    "HTTP/3 through SOCKS": (
        {"url": HTTPS, "http": {"version": "3", "proxy": "socks5h://127.0.0.1:1"}},
        "http.version: is 3, and HTTP/3 does not go through a SOCKS proxy",
    ),
    "HTTP/2 of an http URL through a proxy": (
        {"url": HTTP, "http": {"version": "2", "proxy": "http://127.0.0.1:1"}},
        "http.version: is 2, and an HTTP proxy is asked for http URLs in HTTP/1.1",
    ),
    "another version than the one that is asked for": (
        {"url": HTTPS, "http": {"version": "1.1"}, "expect": {"http_version": 2}},
        "expect.http_version: is 2, but http.version asks for 1.1",
    ),
    "several of which none is asked for": (
        {"url": HTTPS, "http": {"version": "3"}, "expect": {"http_version": [1.1, 2]}},
        "expect.http_version: is 1.1 or 2, but http.version asks for 3",
    ),
    "HTTP/3 that nobody asks for": (
        {"url": HTTPS, "expect": {"http_version": 3}},
        'expect.http_version: is 3, which http.version: "3" must ask for',
    ),
    "a body of HEAD": (
        {"url": HTTP, "http": {"method": "HEAD", "body": "x"}},
        "http.body: is not sent with the method HEAD",
    ),
    "what HEAD brings": (
        {"url": HTTP, "http": {"method": "HEAD"}, "expect": {"body": {"not_contains": "x"}}},
        f"http.method: is HEAD, which brings no body, {READ}",
    ),
    "what the head has not": (
        {"url": HTTP, "http": {"read": "head"}, "expect": {"json": {"$.a": 1}}},
        f"http.read: is head, {READ}",
    ),
    "what is watched": (
        {"url": HTTP, "http": {"read": "head"}, "watch": {"content": "sha256"}},
        f"http.read: is head, {READ}",
    ),
    "two logins": (
        {"url": "http://a:b@a.example/", "http": {"digest_auth": LOGIN}},
        "url: has a login, and http.digest_auth is another; keep one",
    ),
    "a login and its header": (
        {"url": "http://a:b@a.example/", "http": {"headers": {"authorization": "x"}}},
        "url: has a login, and http.authorization is another; keep one",
    ),
    "two logins of a WebSocket": (
        {"url": "ws://a:b@a.example/", "ws": {"bearer_token": "x"}},
        "url: has a login, and ws.bearer_token is another; keep one",
    ),
}

GOOD = {
    "HTTP/3": {"url": HTTPS, "http": {"version": "3"}, "tls": {"max_version": "1.3"}},
    "HTTP/3 by CONNECT-UDP": {
        "url": HTTPS,
        "http": {"version": "3", "proxy": "https://127.0.0.1:1"},
    },
    "HTTP/2 without TLS": {"url": HTTP, "http": {"version": "2"}},
    "the version that is asked for": {
        "url": HTTPS,
        "http": {"version": "3"},
        "expect": {"http_version": [2, 3]},
    },
    "HTTP/2 behind a redirect": {"url": HTTP, "expect": {"http_version": 2}},
    "HTTP/2 through SOCKS": {
        "url": HTTP,
        "http": {"version": "2", "proxy": "socks5://127.0.0.1:1"},
    },
    "HTTP/2 in a tunnel": {"url": HTTPS, "http": {"version": "2", "proxy": "http://127.0.0.1:1"}},
    "HEAD": {"url": HTTP, "http": {"method": "HEAD"}, "expect": {"header": {"etag": "x"}}},
    "the head": {"url": HTTP, "http": {"read": "head"}, "expect": {"that": ["status == 200"]}},
    "one login": {"url": "http://a:b@a.example/"},
}


@pytest.mark.parametrize(("site", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_can_never_work_is_a_mistake(load, site, message):
    """Options that would always fail, or always pass, are reported at their place in the list."""
    with pytest.raises(ConfigError) as error:
        load(site)
    assert f"sites[0].{message}" in str(error.value)


@pytest.mark.parametrize("site", GOOD.values(), ids=GOOD)
def test_what_can_work_is_no_mistake(load, site):
    """Similar options that people need are accepted."""
    assert load(site).sites


def test_defaults_are_told_at_their_place(load):
    """A default that does not suit a site is reported where the default is written."""
    with pytest.raises(ConfigError) as error:
        load(HTTP, defaults={"http": {"version": "3"}})
    assert "defaults.http.version: is 3, and HTTP/3 needs an https URL" in str(error.value)
