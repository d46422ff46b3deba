"""Listing and watching a Kubernetes API server, played by tests/sources/api_server.py."""

import base64
import time
from typing import Any

import pytest
import yaml

from monitor.clock import SystemClock
from monitor.metrics.internal import Internal
from monitor.sources import kube_watch
from monitor.sources.discovery import Discovery
from monitor.sources.kube_config import ApiServer, from_kubeconfig, in_cluster
from monitor.sources.kube_watch import KubeWatch, Resource
from monitor.sources.kubernetes import open_source
from monitor.sources.memory import LastGoodLists
from monitor.sources.options import KubernetesOptions
from monitor.sources.ports import UnreadableError
from tests.fakes import FakeClock
from tests.sources.api_server import GATEWAY, INGRESSES, Server, api_server
from tests.sources.world import WORLD, source, urls
from tests.waiting import until

RESOURCE = Resource("ingresses", ("networking.k8s.io/v1",))


@pytest.fixture
def server():
    with api_server() as one:
        yield one


@pytest.fixture
def watch_of(server):
    watches = []

    def start(resource=RESOURCE, **more):
        access = ApiServer(server.url, token=lambda: server.token)
        watch = KubeWatch(
            resource, access, lambda: None, selector=None, clock=SystemClock(), pause=0.05, **more
        )
        watches.append(watch)
        watch.start()
        return watch

    yield start
    for watch in watches:
        watch.stop()
    server.stop()
    for watch in watches:
        watch._thread.join()


def names(watch):
    objects = watch.state().objects
    return None if objects is None else sorted(name for _, name in objects)


def host(name):
    return {"spec": {"rules": [{"host": f"{name}.example"}]}}


def test_a_list_comes_in_chunks_and_a_watch_goes_on_from_it(server, watch_of):
    """Additions, changes and deletions are seen, and large fields are not kept."""
    server.chunk = 2
    for number in range(5):
        server.put(INGRESSES, "s", f"i{number}", spec={"n": 1}, status={"x": "y"})
    watch = watch_of()
    until(lambda: names(watch) == [f"i{number}" for number in range(5)])
    until(lambda: server.watching(INGRESSES) == 1)
    listed = [query.get("continue") for _, query in server.asked if "watch" not in query]
    assert len(listed) == 3
    server.put(INGRESSES, "s", "i0", spec={"n": 2})
    server.put(INGRESSES, "s", "new")
    server.delete(INGRESSES, "s", "i1")
    until(lambda: names(watch) == ["i0", "i2", "i3", "i4", "new"])
    found = watch.state().objects["s", "i0"]
    assert found["spec"] == {"n": 2}
    assert "managedFields" not in found["metadata"]


def test_a_long_list_is_read(server, watch_of):
    """A list so long that the API server would compress it for clients with gzip is read."""
    rules = [{"host": f"{'x' * 60}.{number}.example"} for number in range(100)]
    for number in range(60):
        server.put(INGRESSES, "s", f"i{number}", spec={"rules": rules})
    watch = watch_of()
    until(lambda: watch.state().settled)
    assert watch.state().error is None
    assert len(names(watch)) == 60


def test_a_watch_that_ends_goes_on_where_it_was(server, watch_of):
    """It resumes at the last event or bookmark without another list, and misses nothing."""
    server.put(INGRESSES, "s", "a")
    watch = watch_of()
    until(lambda: server.watching(INGRESSES) == 1)
    server.bookmark(INGRESSES)
    server.end_watches()
    until(lambda: server.watching(INGRESSES) == 2)
    server.put(INGRESSES, "s", "b")
    until(lambda: names(watch) == ["a", "b"])
    versions = [query["resourceVersion"] for _, query in server.asked if "watch" in query]
    assert versions == ["101", "102"]
    assert sum("watch" not in query for _, query in server.asked) == 1


@pytest.mark.parametrize("told_by", ["status", "event"])
def test_what_is_gone_is_listed_again(server, watch_of, told_by):
    """After 410 Gone, as a status or an event, deletions in the meantime are noticed."""
    server.put(INGRESSES, "s", "a")
    server.put(INGRESSES, "s", "b")
    watch = watch_of()
    until(lambda: server.watching(INGRESSES) == 1)
    server.delete(INGRESSES, "s", "b", silently=True)
    if told_by == "event":
        server.error(INGRESSES, 410)
    else:
        server.compact()
        server.end_watches()
    until(lambda: names(watch) == ["a"])
    assert watch.state().error is None


def test_chunks_that_expire_are_asked_for_again(server, watch_of):
    """If the rest of a list has expired, the list starts again."""
    server.chunk = 1
    server.put(INGRESSES, "s", "a")
    server.put(INGRESSES, "s", "b")
    answer = server.answer

    def compacting(handler):
        if "continue" in handler.path and not server.compacted:
            server.put(INGRESSES, "s", "c")
            server.compact()
        answer(handler)

    server.answer = compacting
    watch = watch_of()
    until(lambda: names(watch) == ["a", "b", "c"])


def test_a_server_that_is_away_keeps_what_is_known(server, watch_of):
    """Objects stay and an error is shown until the server is back."""
    server.put(INGRESSES, "s", "a")
    watch = watch_of()
    until(lambda: server.watching(INGRESSES) == 1)
    server.refused[INGRESSES] = 503
    server.end_watches()
    until(lambda: watch.state().error)
    assert watch.state().error == "ingresses: the API server answers with status 503"
    assert names(watch) == ["a"]
    server.put(INGRESSES, "s", "b")
    server.compact()
    server.refused.clear()
    until(lambda: watch.state().error is None)
    until(lambda: names(watch) == ["a", "b"])


def test_a_kind_that_is_not_installed_is_empty(server, watch_of, monkeypatch):
    """The first version served is used; without any there is no error, and it asks later."""
    monkeypatch.setattr(kube_watch, "_REFUSED_PAUSE", 0.05)
    resource = Resource("tlsroutes", ("gateway.networking.k8s.io/v1", "g/v2"))
    watch = watch_of(resource)
    until(lambda: names(watch) == [])
    assert watch.state().error is None
    server.served.add("/apis/g/v2/tlsroutes")
    server.put("/apis/g/v2/tlsroutes", "s", "a")
    until(lambda: names(watch) == ["a"])


def test_a_token_is_read_again_for_each_request(server, monkeypatch):
    """The token of a pod changes each hour; the error of a refused one does not show it."""
    monkeypatch.setattr(kube_watch, "_REFUSED_PAUSE", 0.05)
    current = ["first-token"]
    access = ApiServer(server.url, token=lambda: current[0])
    watch = KubeWatch(
        RESOURCE, access, lambda: None, selector="a=b", clock=SystemClock(), pause=0.05
    )
    watch.start()
    try:
        until(lambda: server.watching(INGRESSES) == 1)
        assert all(query["labelSelector"] == "a=b" for _, query in server.asked)
        server.token = "second-token"
        server.end_watches()
        error = until(lambda: watch.state().error)
        assert error
        assert "status 401" in error
        assert "token" not in error
        current[0] = "second-token"
        until(lambda: watch.state().error is None)
    finally:
        watch.stop()
        server.stop()
        watch._thread.join()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"nonsense", "does not answer in JSON"),
        (b"[" * 100_000, "does not answer in JSON"),
        (b"[]", "does not answer in JSON"),
    ],
)
def test_an_answer_that_is_not_a_list(server, watch_of, body, why):
    """An answer that is not a list of the API server gets an error."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.answer = answer
    watch = watch_of()
    until(lambda: watch.state().error)
    assert why in watch.state().error
    assert names(watch) is None


# ---------------------------------------------------------------- the whole source


def kubeconfig(server: Server, **user):
    return yaml.safe_dump(
        {
            "current-context": "one",
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": user or {"token": server.token}}],
        }
    )


@pytest.fixture
def reader_of(server, tmp_path):
    readers: list[Any] = []

    def make(**options):
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig(server))
        chosen = KubernetesOptions(kubeconfig=str(path), **options)
        readers.append(open_source(source("kubernetes", chosen), WORLD))
        return readers[-1]

    yield make
    for reader in readers:
        watches = list(reader._watches)
        reader.close()
        reader.wait()
        server.stop()
        for watch in watches:
            watch._thread.join()


ACCEPTED = {"type": "Accepted", "status": "True"}


def serve_gateway(server: Server) -> None:
    for kind in ("httproutes", "grpcroutes", "tlsroutes", "gateways", "gatewayclasses"):
        server.served.add(f"{GATEWAY}/{kind}")
    listener = {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": "*.example"}
    spec = {"gatewayClassName": "c", "listeners": [listener]}
    server.put(f"{GATEWAY}/gateways", "s", "web", spec=spec)
    server.put(f"{GATEWAY}/gatewayclasses", "", "c", spec={})


def put_route(server: Server, name: str, *hosts: str) -> None:
    ref = {"name": "web"}
    server.put(
        f"{GATEWAY}/httproutes",
        "s",
        name,
        spec={"parentRefs": [ref], "hostnames": list(hosts)},
        status={"parents": [{"parentRef": ref, "conditions": [ACCEPTED]}]},
    )


def test_sites_come_and_go_with_objects(server, reader_of):
    """Ingresses and routes make sites, and a URL that both serve makes one site."""
    serve_gateway(server)
    put_route(server, "r", "a.example", "both.example")
    tls = {"tls": [{}], "rules": [{"host": "both.example"}, {"host": "i.example"}]}
    server.put(INGRESSES, "s", "i", spec=tls)
    reader = reader_of()
    look = reader.look()
    assert urls(look, "ingresses") == ["https://both.example/", "https://i.example/"]
    assert urls(look, "httproutes") == ["https://a.example/"]
    assert look.parts["grpcroutes"] == look.parts["tlsroutes"] == ()
    put_route(server, "r", "b.example")
    until(lambda: reader.wait() or urls(reader.look(), "httproutes") == ["https://b.example/"])
    server.delete(f"{GATEWAY}/httproutes", "s", "r")
    until(lambda: reader.wait() or urls(reader.look(), "httproutes") == [])
    assert urls(reader.look(), "ingresses") == urls(look, "ingresses")


@pytest.fixture
def discovery_of(reader_of, monkeypatch):
    monkeypatch.setattr(kube_watch, "_LONGEST_PAUSE", 0.05)
    clock = FakeClock()
    found = []

    def make(limit: int) -> Any:
        """Return a discovery of Ingresses whose clock the test controls."""
        reader = reader_of(resources=("ingresses",))
        found.append(
            Discovery(
                WORLD,
                lambda: None,
                clock=clock,
                meters=Internal(version="1", libcurl="8"),
                memory=LastGoodLists(None),
                open_reader=lambda *_: reader,
            )
        )
        found[0].use([source("kubernetes", limit=limit, gone=600.0)])
        return found[0], clock

    yield make
    for one in found:
        one.stop()


def known(discovery):
    """Return the URLs that are listed, and those that are gone."""
    found = discovery.found()["kubernetes"]
    return [one.keys["url"] for one in found.entries], [one.keys["url"] for one in found.gone]


def said(discovery, text):
    return any(text in one for one in discovery.found()["kubernetes"].remarks)


def test_an_hour_without_the_server_costs_no_site(server, discovery_of):
    """All sites stay meanwhile, and one that vanished gets its grace after the hour."""
    for name in ("a", "b"):
        server.put(INGRESSES, "s", name, **host(name))
    discovery, clock = discovery_of(limit=50)
    both = ["http://a.example/", "http://b.example/"]
    until(lambda: known(discovery) == (both, []))
    server.refused[INGRESSES] = 503
    server.end_watches()
    until(lambda: said(discovery, "answers with status 503"))
    clock.advance(3600.0)
    server.delete(INGRESSES, "s", "b", silently=True)
    server.compact()
    assert known(discovery) == (both, [])
    del server.refused[INGRESSES]
    until(lambda: known(discovery) == (both[:1], both[1:]))
    assert discovery.found()["kubernetes"].remarks == ()
    clock.advance(600.0)
    server.put(INGRESSES, "s", "c", **host("c"))
    until(lambda: known(discovery) == ([both[0], "http://c.example/"], []))


def test_a_cluster_with_more_than_the_limit(server, discovery_of):
    """No site is taken until the list is within the limit."""
    for number in range(6):
        server.put(INGRESSES, "s", f"i{number}", **host(f"i{number}"))
    discovery, _ = discovery_of(limit=5)
    until(lambda: said(discovery, "lists 6 sites and its limit is 5"))
    assert known(discovery) == ([], [])
    server.delete(INGRESSES, "s", "i0")
    until(lambda: len(known(discovery)[0]) == 5)


def test_half_of_the_permissions(server, reader_of):
    """A refused kind says so and keeps its part; the other kinds are still read."""
    serve_gateway(server)
    put_route(server, "r", "a.example")
    server.put(INGRESSES, "s", "i", **host("i"))
    server.refused[f"{GATEWAY}/gatewayclasses"] = 403
    server.refused[f"{GATEWAY}/grpcroutes"] = 403
    look = reader_of().look()
    assert urls(look, "ingresses") == ["http://i.example/"]
    assert urls(look, "httproutes") == ["https://a.example/"]
    wrong = {part for part, found in look.parts.items() if isinstance(found, UnreadableError)}
    assert wrong == {"gatewayclasses", "grpcroutes"}
    assert "a Role must allow the verbs list and watch" in str(look.parts["grpcroutes"])


def test_routes_need_their_gateways(server, reader_of):
    """If gateways are refused, routes stay as they were; Ingresses are still read."""
    serve_gateway(server)
    put_route(server, "r", "a.example")
    server.put(INGRESSES, "s", "i", **host("i"))
    server.refused[f"{GATEWAY}/gateways"] = 403
    look = reader_of().look()
    assert urls(look, "ingresses") == ["http://i.example/"]
    assert "gateways: the API server refuses" in str(look.parts["httproutes"])


def test_only_the_namespaces_that_are_named(server, reader_of):
    """Each has its own request, as a Role allows; a refused one costs no other."""
    here = "/apis/networking.k8s.io/v1/namespaces/a/ingresses"
    server.served = {here}
    server.put(here, "a", "i", **host("i"))
    server.refused[here.replace("/a/", "/b/")] = 403
    look = reader_of(namespaces=("a", "b"), resources=("ingresses",)).look()
    assert urls(look, "ingresses in a") == ["http://i.example/"]
    assert "ingresses in b: the API server refuses" in str(look.parts["ingresses in b"])
    assert len(look.parts) == 2


def test_another_kubeconfig_is_used_from_the_next_look_on(server, reader_of, tmp_path):
    """A new token or another cluster is used, and a broken file gets an error."""
    reader = reader_of(resources=("ingresses",))
    reader.look()
    server.token = "second-token"
    (tmp_path / "kubeconfig").write_text(kubeconfig(server))
    server.put(INGRESSES, "s", "i", **host("i"))
    before = reader._watches[0]
    assert urls(reader.look(), "ingresses") == ["http://i.example/"]
    server.end_watches()
    before._thread.join()
    (tmp_path / "kubeconfig").write_text("[")
    with pytest.raises(UnreadableError, match="kubeconfig:2:1: is not YAML"):
        reader.look()


def test_no_pod_and_no_kubeconfig():
    """The error says that both are missing, and what to do."""
    reader = open_source(source("kubernetes", KubernetesOptions()), WORLD)
    with pytest.raises(UnreadableError, match="this is not a pod of a cluster; name a kubeconfig"):
        reader.look()


# ---------------------------------------------------------------- access


def test_the_service_account_of_a_pod(tmp_path):
    """The token is read each time, since the kubelet replaces it; IPv6 gets brackets."""
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(UnreadableError, match="automountServiceAccountToken"):
        in_cluster(environ, tmp_path)
    (tmp_path / "token").write_text("one\n")
    access = in_cluster(environ, tmp_path)
    assert (access.server, access.verify) == ("https://[fd00::1]:443", f"{tmp_path}/ca.crt")
    assert access.token() == "one"
    (tmp_path / "token").write_text("two")
    assert access.token() == "two"


def test_a_kubeconfig_with_certificates(server, tmp_path):
    """Embedded ones become files in memory; paths are relative to the kubeconfig's folder."""
    data = base64.b64encode(b"PEM").decode()
    text = kubeconfig(server, **{"client-certificate-data": data, "client-key": "my.key"})
    path = tmp_path / "config"
    access = from_kubeconfig(text.encode(), path, None, WORLD.read_yaml)
    assert access.certificate is not None
    certificate, key = access.certificate
    with open(certificate, "rb") as file:  # noqa: PTH123  a path below /proc
        assert file.read() == b"PEM"
    assert key == f"{tmp_path}/my.key"
    access.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"user": {"exec": {"command": "aws"}}}, "exec of the user runs a program"),
        ({"user": {"auth-provider": {"name": "x"}}}, "auth-provider of the user needs a plug-in"),
        ({"user": {"client-key-data": "!"}}, "client-key-data is not base64"),
        ({"context": "two"}, "has no context 'two'"),
        ({"cluster": {"server": "ftp://x"}}, "has no server such as"),
        ({"whole": []}, "is not a kubeconfig"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(server, tmp_path, change, why):
    """Each error says what to write instead."""
    config = yaml.safe_load(kubeconfig(server))
    if "user" in change:
        config["users"][0]["user"] = change["user"]
    if "cluster" in change:
        config["clusters"][0]["cluster"] = change["cluster"]
    config = change.get("whole", config)
    with pytest.raises(UnreadableError, match=why):
        from_kubeconfig(
            yaml.safe_dump(config).encode(),
            tmp_path / "config",
            change.get("context"),
            WORLD.read_yaml,
        )


def test_pauses_do_not_storm_a_server_that_ends_watches_at_once(server, watch_of):
    """There is at most one new watch per pause, however often watches end."""
    watch = watch_of()
    until(lambda: server.watching(INGRESSES) >= 1)
    began = time.monotonic()
    asked = server.watching(INGRESSES)
    for _ in range(20):
        server.end_watches()
        time.sleep(0.01)
    more = server.watching(INGRESSES) - asked
    assert more <= (time.monotonic() - began) / 0.05 + 1
    assert names(watch) == []
