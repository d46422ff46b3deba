"""config/kubernetes/places: two places, a hub and NATS, as kustomize builds them."""

import os
import re
from functools import partial
from urllib.request import urlopen

import click
import pytest
import yaml

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.load import load
from tests.deploy.kubernetes import KUBERNETES, documents
from tests.deploy.schemas import assert_valid
from tests.deploy.shipped import COMPOSE, ROOT
from tests.system.nats import Nats
from tests.waiting import free_port, until

PLACES = KUBERNETES / "places"
CONFIGURATION = PLACES / "nats" / "nats-server.conf"
DAEMONS = {
    "hub": ["run", "--log-format", "json", "--hub"],
    "fra": ["run", "--log-format", "json", "--location", "fra"],
    "nyc": ["run", "--log-format", "json", "--location", "nyc"],
    "setup": ["locations", "setup"],
}
"""Each user of NATS, and the arguments of the container that logs in as it."""


@pytest.fixture
def built(kustomize):
    return kustomize(PLACES)


def of_kind(built, kind):
    return [document for document in built if document["kind"] == kind]


def named(built, kind, name):
    (found,) = [one for one in of_kind(built, kind) if one["metadata"]["name"] == name]
    return found


def pods(built):
    """Return the pod template of each workload by the workload's name."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]
        for kind in ("StatefulSet", "Job")
        for one in of_kind(built, kind)
    }


def selected(built, labels):
    """Return the names of the workloads whose pods have these labels."""
    assert labels
    return [
        name
        for name, pod in pods(built).items()
        if labels.items() <= pod["metadata"]["labels"].items()
    ]


def users(built):
    """Return the pod of each daemon and of the job, by the user that it logs in as."""
    found = {}
    for pod in pods(built).values():
        for variable in pod["spec"]["containers"][0].get("env", ()):
            found[variable["value"]] = pod
    return found


def test_all_of_it_is_what_the_schemas_know(built):
    """Built manifests are valid, and no two of a kind have one name."""
    for document in built:
        assert_valid(document)
    names = [(document["kind"], document["metadata"]["name"]) for document in built]
    assert len(names) == len(set(names))
    assert len(of_kind(built, "ServiceMonitor")) == len(of_kind(built, "PrometheusRule")) == 1


def test_every_selector_means_the_pods_of_one_workload(built):
    """Each service, budget and policy selects one daemon, although daemons share most labels."""
    for workload in of_kind(built, "StatefulSet"):
        name = workload["metadata"]["name"]
        assert selected(built, workload["spec"]["selector"]["matchLabels"]) == [name]
        service = named(built, "Service", workload["spec"]["serviceName"])
        assert selected(built, service["spec"]["selector"]) == [name]
    for budget in of_kind(built, "PodDisruptionBudget"):
        name = budget["metadata"]["name"]
        assert selected(built, budget["spec"]["selector"]["matchLabels"]) == [name]
    policies = of_kind(built, "NetworkPolicy")
    for policy in policies:
        name = policy["metadata"]["name"]
        assert selected(built, policy["spec"]["podSelector"]["matchLabels"]) == [name]
    assert len(policies) == len(of_kind(built, "StatefulSet"))


def test_prometheus_scrapes_the_hub_alone(built):
    """The shipped rules thus see the verdict, and the hub's policy admits what the base's does."""
    (scrape,) = of_kind(built, "ServiceMonitor")
    wanted = scrape["spec"]["selector"]["matchLabels"].items()
    scraped = [
        selected(built, one["spec"]["selector"])
        for one in of_kind(built, "Service")
        if wanted <= one["metadata"]["labels"].items()
    ]
    assert scraped == [["website-monitor"]]
    ingress = named(built, "NetworkPolicy", "website-monitor")["spec"]["ingress"]
    (base,) = documents((KUBERNETES / "base" / "networkpolicy.yaml").read_text())
    assert ingress == base["spec"]["ingress"]


def test_all_who_log_in_to_nats_may_connect(built):
    """NATS' policy admits the pods of all daemons and of the job, and allows no egress."""
    policy = named(built, "NetworkPolicy", "nats")
    (entry,) = policy["spec"]["ingress"]
    (expression,) = entry["from"][0]["podSelector"]["matchExpressions"]
    allowed = [
        name
        for name, pod in pods(built).items()
        if pod["metadata"]["labels"][expression["key"]] in expression["values"]
    ]
    assert sorted(allowed) == sorted({*pods(built)} - {"nats"})
    assert entry["ports"] == [{"port": "nats"}]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy["spec"]


def test_each_daemon_has_its_own_name_and_password(built):
    """The program takes the arguments, and each pod mounts only the Secret of its user."""
    found = users(built)
    assert set(found) == set(DAEMONS)
    for user, pod in found.items():
        (container,) = pod["spec"]["containers"]
        assert container["args"] == DAEMONS[user]
        group, *rest = container["args"]
        command = cli.get_command(click.Context(cli), group)
        assert command
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), rest.pop(0))
            assert command
        assert command.make_context(group, list(rest)).params
        mounted = [one["secret"] for one in pod["spec"]["volumes"] if "secret" in one]
        assert mounted == [{"secretName": f"website-monitor-{user}"}]


def test_all_daemons_have_one_list(built, tmp_path):
    """Daemons and job share one valid list, which names the service of NATS."""
    lists = {one["metadata"]["name"]: one for one in of_kind(built, "ConfigMap")}
    used = {
        user: pod["spec"]["volumes"][0]["configMap"]["name"] for user, pod in users(built).items()
    }
    assert len({lists[name]["data"]["sites.yaml"] for name in used.values()}) == 1
    text = (PLACES / "daemon" / "sites.yaml").read_text()
    assert lists[used["fra"]]["data"]["sites.yaml"] == text
    mount = users(built)["fra"]["spec"]["containers"][0]["volumeMounts"][1]["mountPath"]
    password = f"{mount}/nats-password"
    assert text.count(password) == 1
    (tmp_path / "password").write_text("open-sesame\n")
    (tmp_path / "sites.yaml").write_text(text.replace(password, str(tmp_path / "password")))
    locations = load(tmp_path / "sites.yaml", TABLES, {"NATS_USER": "fra"}).settings.locations
    assert locations
    assert locations.nats.user == "fra"
    service = named(built, "Service", "nats")
    (port,) = service["spec"]["ports"]
    assert locations.nats.servers == (f"nats://{service['metadata']['name']}:{port['port']}",)


def test_no_pod_may_do_more_than_it_must(built):
    """NATS and the job are confined as the monitor is: no root, no capability, no token."""
    confined = [
        (pod["spec"]["automountServiceAccountToken"], container["securityContext"])
        for pod in pods(built).values()
        for container in pod["spec"]["containers"]
    ]
    assert all(one == confined[0] for one in confined)
    assert confined[0][1]["readOnlyRootFilesystem"] is True
    for pod in pods(built).values():
        security = pod["spec"]["securityContext"]
        assert (security["runAsNonRoot"], security["fsGroup"]) == (True, 65532)
        writable = [
            mount["name"]
            for mount in pod["spec"]["containers"][0]["volumeMounts"]
            if not mount.get("readOnly")
        ]
        assert writable in (["data"], [])


def test_what_places_hub_and_nats_keep_outlives_their_pods(built):
    """Each StatefulSet claims a volume of its own."""
    for workload in of_kind(built, "StatefulSet"):
        assert workload["spec"]["replicas"] == 1
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == "data"


def test_the_example_of_a_place_is_built(kustomize, tmp_path):
    """A place alone, as in another cluster, has its own list and namespace."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (example,) = re.findall(
        r'^```yaml title="kustomization.yaml of a place"\n(.*?)^```', text, re.DOTALL | re.MULTILINE
    )
    fra = os.path.relpath(PLACES / "fra", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(re.sub(r"[.]{2}/\S+/fra", fra, example))
    (tmp_path / "sites.yaml").write_text("sites: [https://example.com]\n")
    built = kustomize(tmp_path)
    for document in built:
        assert_valid(document)
        assert document["metadata"]["namespace"] == "monitoring"
    (pod,) = pods(built).values()
    (container,) = pod["spec"]["containers"]
    assert container["args"] == DAEMONS["fra"]
    sites = named(built, "ConfigMap", pod["spec"]["volumes"][0]["configMap"]["name"])
    assert sites["data"] == {"sites.yaml": "sites: [https://example.com]\n"}


def rights(text):
    """Return the rights in a configuration, one text per user."""
    (found,) = re.findall(r"^authorization \{.*?^\}$", text, re.DOTALL | re.MULTILINE)
    return re.split(r"(?=\{ user: )", found)


def test_the_rights_are_those_of_the_docs():
    """Compose gives the same rights, and the docs have one place more."""
    ours = rights(CONFIGURATION.read_text())
    assert rights((COMPOSE / "places" / "nats-server.conf").read_text()) == ours
    documented = rights((ROOT / "docs" / "locations.md").read_text())
    assert [one for one in documented if "user: sin" not in one] == ours


def status(url):
    with urlopen(url, timeout=30) as answer:
        return answer.status


@pytest.mark.real
def test_nats_takes_its_configuration_and_answers_its_probes(real, tmp_path):
    """A real server accepts it, with passwords.conf as in docs/kubernetes.md."""
    text = CONFIGURATION.read_text()
    port = free_port()
    for line, other in (
        ("listen: 0.0.0.0:4222\n", ""),
        ("jetstream { store_dir: /data, max_file_store: 2GiB }\n", ""),
        ("http: 0.0.0.0:8222 ", f"http: 127.0.0.1:{port} "),
    ):
        assert line in text
        text = text.replace(line, other)
    (tmp_path / "passwords.conf").write_text(
        "".join(f'{user.upper()}_PASSWORD: "12e{user}"\n' for user in DAEMONS)
    )
    (workload,) = documents((PLACES / "nats" / "statefulset.yaml").read_text())
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    server = Nats(real("nats-server"), tmp_path, text)
    try:
        server.set_up(user="setup", password="12esetup")
        for name in ("startup", "liveness", "readiness"):
            path = container[f"{name}Probe"]["httpGet"]["path"]
            url = f"http://127.0.0.1:{port}{path}"
            assert until(partial(status, url), url) == 200
    finally:
        server.stop()


def test_the_image_of_nats_is_that_of_compose():
    """Both use one version, which is the one that is tested and documented."""
    (workload,) = documents((PLACES / "nats" / "statefulset.yaml").read_text())
    services = yaml.safe_load((COMPOSE / "places.yaml").read_text())["services"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["image"] == services["nats"]["image"]
