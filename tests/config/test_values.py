"""Values of the right form that are impossible: each error has a place and says what to write."""

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import load_text
from monitor.errors import ConfigError

PORT = "has a wrong port; write a number from 1 to 65535"
HOST = "has a wrong host; write a name or an IP address, an IPv6 address in brackets"
PROXY = "proxy must be an http, https, socks4, socks5 or socks5h URL"
NATS = "must be a server such as tls://nats.example.com:4222, with nats://, tls://, ws:// or wss://"
DOCKER = "must be unix:///run/docker.sock, http://HOST:PORT or https://HOST:PORT"
LONG = "999999999999d"
TOO_LONG = f"must be at most 366d, not {LONG}"
OVER_A_CENTURY = f"must be at most 36525d, not {LONG}"
NOTIFY = "notify: {receivers: [{name: a, webhook: {url: 'http://h.test'}"
PUSH = "sites: [{url: 'push:a', push: {token: of-sixteen-signs, every: 5m"

SETTINGS = [
    # every port, of every URL and address
    ("history: {store: 'postgresql://u:geheim@h.test:99999/d'}", f"18: history: store {PORT}"),
    ("history: {store: 'postgresql://h.test:x/d'}", f"18: history: store {PORT}"),
    ("history: {store: 'postgresql://a..b/d'}", f"18: history: store {HOST}"),
    ("locations: {nats: {servers: ['tls://h.test:99999']}}", f"30: .servers[0]: {PORT}"),
    ("locations: {nats: {servers: ['nats://h.test:0']}}", f"30: .servers[0]: {PORT}"),
    ("locations: {nats: {servers: ['ws://[::1']}}", f"30: .servers[0]: {HOST}"),
    ("locations: {nats: {servers: ['foo://geheim']}}", f"30: .servers[0]: {NATS}"),
    ("locations: {nats: {servers: ['nats://geheim@h.test']}}", f"30: .servers[0]: {NATS}"),
    ("discover: [{http: {url: 'http://h.test:99999/'}}]", f"25: discover[0].http.url: {PORT}"),
    ("discover: [{http: {url: 'http://[h/'}}]", f"25: discover[0].http.url: {HOST}"),
    ("discover: [{sitemap: {url: 'http://h.test:0/'}}]", f"28: discover[0].sitemap.url: {PORT}"),
    ("discover: [{docker: {host: 'http://h.test:70000'}}]", f"28: .docker.host: {PORT}"),
    ("discover: [{docker: {host: 'foo://geheim'}}]", f"28: .docker.host: {DOCKER}"),
    ("discover: [{docker: {host: 'https://u:geheim@h.test'}}]", f"28: .docker.host: {DOCKER}"),
    (
        f"discover: [{{docker: {{host: 'unix:///{'a' * 107}'}}}}]",
        "28: .docker.host: has a path of more than 107 bytes, which no socket has",
    ),
    (f"{NOTIFY}, proxy: 'http://h.test:0'}}]}}", f"72: notify.receivers[0]: {PROXY[:5]} {PORT}"),
    (f"{NOTIFY}, proxy: 'http://[geheim:1'}}]}}", f"72: notify.receivers[0]: {PROXY[:5]} {HOST}"),
    ("notify: {receivers: [{name: a, webhook: {url: 'http://h:0'}}]}", f"47: .webhook: url {PORT}"),
    (
        "notify: {receivers: [{name: a, alertmanager: ['http://h.test:65536']}]}",
        f"46: notify.receivers[0]: alertmanager {PORT}",
    ),
    ("notify: {heartbeat: {url: 'http://h.test:77777'}}", f"27: notify.heartbeat: url {PORT}"),
    (
        "pages: [{path: /s, title: s, groups: [a], url: 'https://u:geheim@h.test/'}]",
        "48: pages[0].url: must be a URL such as https://status.example.com/status",
    ),
    ("pages: [{path: /s, title: s, groups: [a], url: 'http://h:0'}]", f"48: pages[0].url: {PORT}"),
    # every duration
    (f"history: {{raw: {LONG}}}", f"16: history.raw: {OVER_A_CENTURY}"),
    (f"history: {{five_minutes: {LONG}}}", f"25: history.five_minutes: {OVER_A_CENTURY}"),
    (f"history: {{hourly: {LONG}}}", f"19: history.hourly: {OVER_A_CENTURY}"),
    (f"history: {{daily: {LONG}}}", f"18: history.daily: {OVER_A_CENTURY}"),
    (f"history: {{removed: {LONG}}}", f"20: history.removed: {OVER_A_CENTURY}"),
    (f"shutdown_grace: {LONG}", f"17: shutdown_grace: {TOO_LONG}"),
    (f"analysis: {{timeout: {LONG}}}", f"21: analysis.timeout: {TOO_LONG}"),
    (f"notify: {{group_wait: {LONG}}}", f"22: notify.group_wait: {TOO_LONG}"),
    (f"notify: {{group_interval: {LONG}}}", f"26: notify.group_interval: {TOO_LONG}"),
    (f"notify: {{repeat_interval: {LONG}}}", f"27: notify.repeat_interval: {TOO_LONG}"),
    (
        f"notify: {{heartbeat: {{url: 'http://h.test', interval: {LONG}}}}}",
        f"54: .interval: {TOO_LONG}",
    ),
    (f"{NOTIFY}, timeout: 6m}}]}}", "74: notify.receivers[0].timeout: must be at most 5m, not 6m"),
    (f"discover: [{{docker: {{}}, gone: {LONG}}}]", f"31: discover[0].gone: {TOO_LONG}"),
    (f"discover: [{{docker: {{refresh: {LONG}}}}}]", f"31: discover[0].docker.refresh: {TOO_LONG}"),
    # every size and number
    ("history: {max_size: 2000TiB}", "21: history.max_size: must be at most 1024TiB, not 2000TiB"),
    (f"history: {{max_size: {'9' * 400}GiB}}", "21: .max_size: must be at most 1024TiB, not 999"),
    ("history: {max_size: 20kiB}", "21: .max_size: '20kiB' is not a size such as 64KiB"),
    ("history: {results: 0}", "20: history.results: must be a whole number from 1 to 10000, not 0"),
    ("history: {failures: 5000}", "21: .failures: must be a whole number from 1 to 1000, not 5000"),
    (
        "engine: {probe_threads: 99999}",
        "25: .probe_threads: must be a whole number from 1 to 32768",
    ),
    (
        "locations: {nats: {servers: ['nats://h'], }, stale: 0}",
        "53: .stale: must be a whole number",
    ),
    (
        "locations: {nats: {servers: ['nats://h'], }, stream: 1B}",
        "54: .stream: must be at least 16MiB",
    ),
    # what other programs would refuse
    (
        "discover: [{http: {url: 'http://h.test', headers: {X Y: geheim}}}]",
        "19: discover[0].http: 'X Y' is not a header's name",
    ),
    (
        'discover: [{http: {url: "http://h.test", headers: {X: "geheim\\nY: 1"}}}]',
        "19: discover[0].http: X must be one line without blanks around it",
    ),
    (
        "discover: [{http: {url: 'http://h.test', scheme: htps}}]",
        "50: discover[0].http.scheme: unknown scheme 'htps'; did you mean 'https'?",
    ),
    ("discover: [{file: {paths: [a], scheme: push}}]", "40: .file.scheme: unknown scheme 'push'"),
    (
        "discover: [{kubernetes: {namespaces: [a/../b]}}]",
        "39: .kubernetes.namespaces[0]: 'a/../b' is not a namespace such as shop",
    ),
    (
        "discover: [{kubernetes: {selector: 'team=a b'}}]",
        "36: .kubernetes.selector: 'team=a b' is not a label selector such as team=shop,tier!=test",
    ),
    ("discover: [{kubernetes: {annotations: a..b}}]", "39: .annotations: 'a..b' is not a prefix"),
    ("discover: [{kubernetes: {resources: []}}]", "37: discover[0].kubernetes: resources is empty"),
    ("discover: [{kubernetes: {context: ''}}]", "35: discover[0].kubernetes: context is empty"),
]
SITES = [
    (
        "sites: [{url: 'http://a.test', http: {proxy: 'http://h:99999'}}]",
        f"46: .http: {PROXY[:5]} {PORT}",
    ),
    (
        "sites: [{url: 'http://a.test', http: {proxy: 'foo://geheim'}}]",
        f"46: sites[0].http: {PROXY}",
    ),
    ("sites: [{url: 'ws://a.test', ws: {proxy: 'socks5://h:0'}}]", f"42: .ws: {PROXY[:5]} {PORT}"),
    (
        "sites: [{url: 'dns://1.1.1.1/a', dns: {transport: https, proxy: 'http://h:x'}}]",
        f"65: sites[0].dns: {PROXY[:5]} {PORT}",
    ),
    (
        "sites: [{url: http://a, http: {oauth2: {token_url: h, client_id: a, client_secret: b}}}]",
        "52: sites[0].http.oauth2: token_url must be an http or https URL",
    ),
    (
        "sites: [{url: 'http://a.test', network: {connect_to: 'h h:1'}}]",
        "54: sites[0].network.connect_to: 'h h:1' is not HOST:PORT, such as",
    ),
    (f"sites: [{{url: 'http://a.test', interval: {LONG}}}]", f"42: sites[0].interval: {TOO_LONG}"),
    (f"sites: [{{url: 'http://a.test', timeout: {LONG}}}]", f"41: sites[0].timeout: {TOO_LONG}"),
    (
        f"sites: [{{url: 'http://a.test', expect: {{latency: {LONG}}}}}]",
        f"50: .latency: {TOO_LONG}",
    ),
    (
        f"sites: [{{url: 'https://a.test', expect: {{certificate: {{valid_for: {LONG}}}}}}}]",
        f"55: sites[0].expect.certificate: {OVER_A_CENTURY}",
    ),
    (
        "sites: [{url: 'icmp://a.test', icmp: {count: 101}}]",
        "46: .count: must be a whole number from 1 to 100",
    ),
    (
        "sites: [{url: 'icmp://a.test', icmp: {ttl: 256}}]",
        "44: .ttl: must be a whole number from 1 to 255",
    ),
    ("sites: [{url: 'icmp://a.test', icmp: {size: 65508B}}]", "45: .size: must be at most 65507B"),
    (
        f"sites: [{{url: 'icmp://a.test', icmp: {{interval: {LONG}}}}}]",
        f"49: .icmp.interval: {TOO_LONG}",
    ),
    (
        "sites: [{url: 'http://a.test', http: {max_redirects: 1001}}]",
        "54: sites[0].http.max_redirects: must be a whole number from 0 to 1000, not 1001",
    ),
    (f"{PUSH}, grace: {LONG}}}}}]", f"75: sites[0].push.grace: {TOO_LONG}"),
    (
        f"{PUSH}, timezone: Europe/Berlin}}}}]",
        "78: sites[0].push: timezone goes with cron; every counts from one call to the next",
    ),
    (
        f"sites: [{{url: 'push:a', push: {{token: of-sixteen-signs, every: {LONG}}}}}]",
        f"64: sites[0].push.every: {TOO_LONG}",
    ),
]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *(
            (f"{text}\nsites: [{{url: 'http://a.test', group: a}}]\n", told)
            for text, told in SETTINGS
        ),
        *SITES,
    ],
)
def test_what_cannot_be_is_refused_at_its_place(text, told):
    """An impossible port, time, size, number or name is refused; no URL is quoted."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, TABLES, {})
    [problem] = map(str, caught.value.problems)
    column, _, sentence = told.partition(": ")
    assert problem.startswith(f"text:1:{column}: ")
    assert sentence in problem
    assert "geheim" not in problem


@pytest.mark.parametrize(
    "text",
    [
        "history: {store: 'postgresql:///d?host=/run/postgresql'}",
        "history: {store: 'postgresql://u:p@[::1]:5432/d', raw: 36525d, removed: forever}",
        "locations: {nats: {servers: ['nats://h', 'tls://[::1]:4222', 'wss://h.test:443']}}",
        "discover: [{docker: {host: 'https://h.test:2376/'}}, {docker: {}, name: other}]",
        "discover: [{http: {url: 'http://u:p@h.test:80/a?b=c', headers: {X-A: ü}, scheme: ws}}]",
        "discover: [{kubernetes: {namespaces: [a-1], selector: 'a.test/b in (c, d),!e, f!=g,h'}}]",
        "notify: {heartbeat: {url: 'http://büro.test/', proxy: 'socks5://u:p@h:1', interval: 10s}}",
    ],
)
def test_what_can_be_is_taken(text):
    """The same options are accepted at their bounds and in less common forms."""
    assert load_text(f"{text}\nsites: [http://a.test]\n", TABLES, {}).sites
