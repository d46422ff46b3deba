"""config/kubernetes: checked by the schemas, for consistency, and as kustomize builds it."""

import os
import re
import shutil

import click
import kubernetes_validate
import pytest
import yaml

from monitor import __version__
from monitor.app.sharding import Shard, parse_shard
from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.load import load
from monitor.config.settings import Settings
from monitor.sources.kubernetes import VERSIONS
from tests.deploy.kubernetes import (
    KUBERNETES,
    PROMETHEUS_RULE,
    manifest,
    prometheus_rule,
)
from tests.deploy.schemas import assert_valid
from tests.deploy.shipped import ROOT

BASE = KUBERNETES / "base"
FOLDERS = ("base", "sharded")
PLACES = [f"places{below}" for below in ("", "/daemon", "/hub", "/fra", "/nyc", "/nats")]
RESOURCES = sorted(
    path for path in BASE.glob("*.yaml") if path.name not in {"kustomization.yaml", "sites.yaml"}
)
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture
def pod():
    return manifest(BASE / "deployment.yaml")["spec"]["template"]


@pytest.fixture
def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


# ---------------------------------------------------------------- each manifest alone


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_a_manifest_is_valid(path):
    """The schemas of Kubernetes and the Prometheus operator accept it, without unknown keys."""
    assert_valid(manifest(path))


@pytest.mark.parametrize(
    ("name", "place"),
    [("deployment", "spec"), ("servicemonitor", "spec")],
    ids=["core", "operator"],
)
def test_a_misspelled_key_would_be_seen(name, place):
    """The schema check refuses an unknown key."""
    document = manifest(BASE / f"{name}.yaml")
    document[place]["replikas"] = 1
    with pytest.raises((AssertionError, kubernetes_validate.ValidationError)):
        assert_valid(document)


def test_the_rules_are_those_of_config_prometheus():
    """If they differ, run python -m tests.deploy.kubernetes."""
    assert PROMETHEUS_RULE.read_text() == prometheus_rule()


def test_the_site_list_is_good():
    """The ConfigMap's site list loads, and the examples in its comments are YAML."""
    text = (BASE / "sites.yaml").read_text()
    assert load(BASE / "sites.yaml", TABLES, {}).sites
    example = re.search(r"^  # - name.*\Z", text, re.MULTILINE | re.DOTALL)
    assert example
    assert yaml.safe_load(example[0].replace("  # ", "  "))


@pytest.mark.parametrize("folder", [*FOLDERS, *PLACES])
def test_every_file_is_named_and_every_name_is_a_file(folder):
    """Each kustomization names every file of its folder, and no file that is missing."""
    listed = manifest(KUBERNETES / folder / "kustomization.yaml")
    named = {
        *listed["resources"],
        *(patch["path"] for patch in listed.get("patches", ()) if "path" in patch),
        *(file for one in listed.get("configMapGenerator", ()) for file in one["files"]),
    }
    files = {path.name for path in (KUBERNETES / folder).iterdir() if path.is_file()}
    assert {name for name in named if "." in name and not name.startswith("../")} == files - {
        "kustomization.yaml"
    }
    assert all((KUBERNETES / folder / name).exists() for name in named)


# ---------------------------------------------------------------- against each other and the image


def test_the_container_may_do_nothing_but_check(pod, container):
    """It has no root, no capability and no cluster token, and can write only its data."""
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["automountServiceAccountToken"] is False
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["data"]


def test_the_container_is_the_images(pod, container):
    """User, folders, port and arguments match the Dockerfile and the program."""
    security = pod["spec"]["securityContext"]
    user = f"{security['runAsUser']}:{security['runAsGroup']}"
    assert f"USER {user}\n" in DOCKERFILE
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert f"MONITOR_CONFIG={mounts['sites']['mountPath']} " in DOCKERFILE
    assert f"MONITOR_DATA={mounts['data']['mountPath']} " in DOCKERFILE
    assert f"VOLUME {mounts['data']['mountPath']}\n" in DOCKERFILE
    assert "subPath" not in mounts["sites"]
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in DOCKERFILE
    command, *arguments = container["args"]
    found = cli.get_command(click.Context(cli), command)
    assert found
    assert found.make_context(command, list(arguments)).params
    assert pod["spec"]["terminationGracePeriodSeconds"] > Settings().shutdown_grace


def test_probes_ask_for_what_the_daemon_answers(container):
    """Startup and liveness probes ask for health, the readiness probe for readiness."""
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert all(one == {"path": "/-/healthy", "port": "http"} for one in asked.values())
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "http"}


def test_everything_selects_the_pods(pod, container):
    """Service, ServiceMonitor, budget and policy select these pods and their port."""
    labels = pod["metadata"]["labels"]
    (port,) = container["ports"]
    service = manifest(BASE / "service.yaml")["spec"]
    assert service["selector"] == labels
    (entry,) = service["ports"]
    assert entry["targetPort"] == port["name"]
    assert entry["port"] == port["containerPort"]
    budget = manifest(BASE / "poddisruptionbudget.yaml")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    policy = manifest(BASE / "networkpolicy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["ingress"][0]["ports"] == [{"port": port["name"]}]
    scrape = manifest(BASE / "servicemonitor.yaml")["spec"]
    kustomization = manifest(BASE / "kustomization.yaml")
    assert scrape["selector"]["matchLabels"] == kustomization["labels"][0]["pairs"] == labels
    (endpoint,) = scrape["endpoints"]
    assert endpoint["port"] == entry["name"]
    assert endpoint["honorLabels"] is True


# ---------------------------------------------------------------- built


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_built_is_valid(build, folder):
    """Built manifests are valid, and pods mount the site list by its generated name."""
    built = build(KUBERNETES / folder)
    for document in built.values():
        assert_valid(document)
    workload = built["Deployment" if folder == "base" else "StatefulSet"]
    volume = workload["spec"]["template"]["spec"]["volumes"][0]
    assert volume["configMap"]["name"] == built["ConfigMap"]["metadata"]["name"]
    assert built["ConfigMap"]["data"]["sites.yaml"] == (BASE / "sites.yaml").read_text()


def test_the_pods_of_the_sharded_form_are_all_shards(build):
    """Each pod takes its shard from its name, and the total is the number of replicas."""
    built = build(KUBERNETES / "sharded")
    assert "Deployment" not in built
    workload = built["StatefulSet"]
    replicas = workload["spec"]["replicas"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    shards = next(env["value"] for env in container["env"] if env["name"] == "MONITOR_SHARDS")
    assert shards == str(replicas)
    (option,) = re.findall("--shard ([^ ]+)", " ".join(container["args"]))
    name = workload["metadata"]["name"]
    environs = [
        {"POD_NAME": f"{name}-{place}", "MONITOR_SHARDS": shards} for place in range(replicas)
    ]
    found = [parse_shard(option, environ) for environ in environs]
    assert found == [Shard(number, replicas) for number in range(1, replicas + 1)]
    assert workload["spec"]["serviceName"] == built["Service"]["metadata"]["name"]
    assert built["Service"]["spec"]["clusterIP"] == "None"


def test_the_example_of_the_docs_is_built(build, tmp_path):
    """The kustomization in the docs sets its own image, list and label."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (example,) = re.findall(
        r'^```yaml title="kustomization.yaml"\n(.*?)^```', text, re.DOTALL | re.MULTILINE
    )
    base = os.path.relpath(BASE, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(re.sub(r"[.]{2}/\S+/base", base, example))
    (tmp_path / "sites.yaml").write_text("sites: [https://example.com]\n")
    built = build(tmp_path)
    for document in built.values():
        assert_valid(document)
    (container,) = built["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/website-monitor:{__version__}"
    assert built["ConfigMap"]["data"] == {"sites.yaml": "sites: [https://example.com]\n"}
    assert built["ServiceMonitor"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert built["Service"]["spec"]["selector"] == {"app.kubernetes.io/name": "website-monitor"}


def test_what_shards_remember_outlives_their_pods(pod):
    """The StatefulSet claims a volume per pod; the Deployment has at most an emptyDir."""
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "data"] or [None]
    if volume is not None:
        assert "emptyDir" in volume
    assert (
        "name: data\n      spec:\n        accessModes: [ReadWriteOnce]"
        in (KUBERNETES / "sharded" / "statefulset.yaml").read_text()
    )


# ---------------------------------------------------------------- discovery

DISCOVERY = KUBERNETES / "discovery"


@pytest.mark.parametrize("name", ["serviceaccount", "clusterrole", "clusterrolebinding"])
def test_what_discovery_needs_is_what_the_schemas_know(name):
    """Each manifest of the component is valid, without unknown keys."""
    assert_valid(manifest(DISCOVERY / f"{name}.yaml"))


def test_the_role_has_what_the_source_asks_for_and_nothing_else():
    """It allows list and watch on each kind of object that the source watches."""
    wanted = {
        (version.partition("/")[0], plural)
        for plural, versions in VERSIONS.items()
        for version in versions
    }
    rules = manifest(DISCOVERY / "clusterrole.yaml")["rules"]
    assert all(rule["verbs"] == ["list", "watch"] for rule in rules)
    assert wanted == {
        (group, plural)
        for rule in rules
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }


def test_the_binding_is_of_that_role_and_account():
    """The binding has the names of the role and account in the other manifests."""
    binding = manifest(DISCOVERY / "clusterrolebinding.yaml")
    role = manifest(DISCOVERY / "clusterrole.yaml")
    account = manifest(DISCOVERY / "serviceaccount.yaml")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]


def test_the_component_gives_the_pod_its_account(build, tmp_path):
    """The kustomization in the docs adds it to the base, in its own namespace."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (example,) = re.findall(
        r'^```yaml title="kustomization.yaml with sites from the cluster"\n(.*?)^```',
        text,
        re.DOTALL | re.MULTILINE,
    )
    shutil.copytree(KUBERNETES, tmp_path / "website-monitor" / "config" / "kubernetes")
    own = tmp_path / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(example)
    built = build(own)
    for document in built.values():
        assert_valid(document)
    pod = built["Deployment"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (
        "website-monitor",
        True,
    )
    assert built["ClusterRoleBinding"]["subjects"][0]["namespace"] == "monitoring"
