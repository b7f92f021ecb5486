"""Components of `deploy/k8s`: no pod has a right too many, and each connection is open at both of its ends."""

import functools
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.telemetry import metrics
from tests.support.deploy.kustomize import COMPONENTS, component, components_for, overlay_with, rendered_folder
from tests.support.deploy.manifests import K8S, NAME, ROOT, containers, pod
from tests.support.monitoring import boards
from tests.support.monitoring.prometheus_server import INSTALL
from tests.support.monitoring.query_checks import KnownSeries
from tests.support.pages import prometheus_rule
from tests.support.required_tools import need

WORKLOADS = [
    (name, manifest) for name in COMPONENTS for manifest in component(name) if "template" in manifest.get("spec", {})
]
IDS = [f"{name}-{workload['metadata']['name']}" for name, workload in WORKLOADS]
#: Secrets that an installation has without any of the components.
BASE_SECRETS = {"calotype-database", "calotype-notifier-database", "calotype-nats", "calotype-nats-tls"}
SERVICES = {"gateway", "job", "generator", "uploader", "notifier"}
#: A ConfigMap is below this with its copy in an annotation, which `kubectl apply` limits to 256 KiB.
MAX_CONFIG_MAP = 250_000


@functools.cache
def everything() -> list[dict[str, Any]]:
    """Production with every component."""
    with tempfile.TemporaryDirectory() as folder:
        return overlay_with("production", components_for("production"), Path(folder) / "production")


def of_kind(kind: str) -> Iterator[dict[str, Any]]:
    return (manifest for manifest in everything() if manifest["kind"] == kind)


@pytest.mark.parametrize(("name", "workload"), WORKLOADS, ids=IDS)
def test_a_pod_has_no_right_that_it_does_not_need(name: str, workload: dict[str, Any]) -> None:
    spec = pod(workload)
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    assert all("sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}) for volume in spec["volumes"])
    for container in containers(workload):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            one["name"] for one in spec["volumes"]
        } | claims
        assert container["image"] == "calotype" or re.search(r":v?\d+[\w.-]*$", container["image"])


@pytest.mark.parametrize(("name", "workload"), WORKLOADS, ids=IDS)
def test_probes_ask_a_port_that_is_there(name: str, workload: dict[str, Any]) -> None:
    [container] = containers(workload)
    ports = {port["name"] for port in container["ports"]}
    for kind in ("startup", "readiness", "liveness"):
        probe = container[f"{kind}Probe"]
        asked = probe.get("httpGet") or probe.get("tcpSocket")

        assert "exec" in probe or asked["port"] in ports
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] >= 60


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_readme_says_what_to_fill_in_and_how_to_see_that_it_works(name: str) -> None:
    readme = (K8S / "components" / name / "README.md").read_text(encoding="utf-8")
    manifests = yaml.safe_dump(component(name)) + (K8S / "components" / name / "kustomization.yaml").read_text("utf-8")
    secrets = set(re.findall(r"(?:secretName|secret: \{name|certificateRefs:\n +- name): (calotype-[\w-]+)", manifests))

    assert re.findall(r"^## (.+)$", readme, re.MULTILINE) == ["Fill in", "See that it works"]
    assert len(readme.splitlines()) < 50
    assert [secret for secret in secrets - BASE_SECRETS if secret not in readme] == []


def chosen(selector: Mapping[str, Any]) -> set[str]:
    """Names of the pods that a selector chooses; `*` for those of the base together."""
    if "matchLabels" in selector:
        return {selector["matchLabels"].get(NAME, "*")}
    return set(selector["matchExpressions"][0]["values"])


def connections(direction: str, peers: str) -> set[tuple[str, str, int]]:
    """Source, target and number of the target's port, of the rules in one direction that name pods by labels."""
    numbers = {
        (manifest["metadata"]["labels"][NAME], port["name"]): port["containerPort"]
        for manifest in everything()
        if "template" in manifest.get("spec", {})
        for port in containers(manifest)[0].get("ports", ())
    }
    found = set()
    for policy in of_kind("NetworkPolicy"):
        for rule in policy["spec"].get(direction, ()):
            named_peers = [peer for peer in rule.get(peers, ()) if peer.keys() == {"podSelector"}]
            others = {name for peer in named_peers for name in chosen(peer["podSelector"])}
            for own in chosen(policy["spec"]["podSelector"]):
                for other in others:
                    source, target = (own, other) if direction == "egress" else (other, own)
                    ports = (port["port"] for port in rule["ports"])
                    found |= {(source, target, numbers.get((target, port), port)) for port in ports}
    return found


def test_each_connection_is_open_at_both_ends_and_there_are_no_others() -> None:
    asked, allowed = connections("egress", "to"), connections("ingress", "from")
    ours = {connection for connection in asked if connection[1] not in SERVICES | {"nats"}}

    assert asked == allowed
    assert ours == {
        *((name, "otel-collector", 4317) for name in SERVICES),
        ("otel-collector", "jaeger", 4317),
        ("grafana", "jaeger", 16686),
        ("grafana", "prometheus", 9090),
        *((name, "postgres", 5432) for name in ("job", "notifier", "migrate", "reconcile")),
        *((name, "storage", 9000) for name in ("generator", "uploader", "reconcile")),
    }
    assert {connection for connection in asked if connection[0] not in SERVICES and connection[1] in SERVICES} == {
        ("prometheus", name, 9464) for name in SERVICES
    }


def test_no_pod_may_connect_to_every_address_of_a_port() -> None:
    rules = [rule for policy in of_kind("NetworkPolicy") for rule in policy["spec"].get("egress", ())]

    assert rules
    assert [rule for rule in rules if not rule.get("to") or not rule.get("ports")] == []


@pytest.mark.parametrize(("name", "workload"), WORKLOADS, ids=IDS)
def test_a_policy_closes_a_pod_in_both_directions(name: str, workload: dict[str, Any]) -> None:
    policies = [
        manifest["spec"]
        for manifest in component(name)
        if manifest["kind"] == "NetworkPolicy" and set(manifest["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    ]

    assert any(chosen(policy["podSelector"]) == {workload["metadata"]["name"]} for policy in policies)


def test_services_choose_a_port_of_their_pods() -> None:
    workloads = {one["metadata"]["name"]: one for one in everything() if "template" in one.get("spec", {})}
    for service in of_kind("Service"):
        ports = {port["name"] for port in containers(workloads[service["spec"]["selector"][NAME]])[0]["ports"]}

        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_addresses_in_configurations_are_those_of_services() -> None:
    known = {f"{one['metadata']['name']}:{port['port']}" for one in of_kind("Service") for port in one["spec"]["ports"]}
    written = yaml.safe_dump([one for one in everything() if one["kind"] != "NetworkPolicy"])
    named = set(re.findall(r"\b((?:otel-collector|jaeger|prometheus|storage|postgres):\d{4,})\b", written))

    assert named == {"otel-collector:4317", "jaeger:4317", "jaeger:16686", "prometheus:9090", "storage:9000"}
    assert named <= known


def test_prometheus_reads_every_service_and_its_configuration_is_valid(tmp_path: Path) -> None:
    file = K8S / "components" / "monitoring" / "config" / "prometheus.yml"
    text = file.read_text(encoding="utf-8").replace("/etc/prometheus-rules", str(ROOT / "deploy/dashboards/rules"))
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    command = [need("promtool", install=INSTALL), "check", "config", tmp_path / "prometheus.yml"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    jobs = {one["job_name"]: one["dns_sd_configs"][0] for one in yaml.safe_load(text)["scrape_configs"]}
    metrics_services = {
        one["metadata"]["name"]: one["spec"] for one in component("monitoring") if one["kind"] == "Service"
    }

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 rule files found" in checked.stdout
    assert jobs.keys() == {f"calotype-{service}" for service in SERVICES}
    for service in SERVICES:
        found = jobs[f"calotype-{service}"]
        assert found["names"] == [f"{service}-metrics"]
        assert metrics_services[f"{service}-metrics"]["ports"][0]["port"] == found["port"]
        assert metrics_services[f"{service}-metrics"]["clusterIP"] == "None"


def test_grafana_has_the_dashboards_themselves() -> None:
    folder = ROOT / "deploy" / "dashboards"
    maps = {re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"]): one["data"] for one in of_kind("ConfigMap")}
    shown = maps["calotype-dashboards"] | maps["calotype-dashboards-infrastructure"]
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}

    # Tempo is in no component.
    assert shown == {name: text for name, text in files.items() if name != "job-tempo.json"}
    assert maps["calotype-rules"] == {"calotype.yaml": (folder / "rules" / "calotype.yaml").read_text("utf-8")}
    assert maps["calotype-datasources"].keys() == {"datasources.yaml"}
    for name, data in maps.items():
        assert sum(len(text.encode()) for text in data.values()) < MAX_CONFIG_MAP, name


def test_the_prometheus_rule_has_the_alert_rules() -> None:
    assert prometheus_rule.MANIFEST.read_text(encoding="utf-8") == prometheus_rule.prometheus_rule()
    assert yaml.safe_load(prometheus_rule.prometheus_rule())["spec"] == yaml.safe_load(
        prometheus_rule.RULES.read_text(encoding="utf-8")
    )


def test_the_pod_monitor_reads_every_service() -> None:
    [monitor] = of_kind("PodMonitor")

    assert chosen(monitor["spec"]["selector"]) == SERVICES
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"


def test_queries_of_keda_are_on_metrics_that_exist() -> None:
    known = KnownSeries.of(metrics.DECLARED.values(), others=boards.OF_PROCESSES)
    scaled = list(of_kind("ScaledObject"))
    queries = [trigger["metadata"]["query"] for one in scaled for trigger in one["spec"]["triggers"]]

    assert {one["spec"]["scaleTargetRef"]["name"] for one in scaled} == {"generator", "uploader"}
    assert len(queries) == 4
    assert [problem for query in queries for problem in known.problems(query)] == []


def test_an_apply_does_not_change_the_numbers_of_keda(tmp_path: Path) -> None:
    overlay_with("production", ["keda"], tmp_path / "production")
    file = tmp_path / "production" / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text(encoding="utf-8"))
    # As the component's README says.
    scaled = ("generator", "uploader")
    kustomization["replicas"] = [one for one in kustomization["replicas"] if one["name"] not in scaled]
    file.write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    deployments = (one for one in rendered_folder(tmp_path / "production") if one["kind"] == "Deployment")
    counted = {one["metadata"]["name"] for one in deployments if "replicas" in one["spec"]}

    assert counted == {"job", "notifier"}


def test_the_host_is_that_of_the_settings_at_every_place() -> None:
    hosts = [one["spec"]["hostnames"] for one in of_kind("HTTPRoute")]
    hosts += [[listener["hostname"] for listener in one["spec"]["listeners"]] for one in of_kind("Gateway")]
    hosts += [[*one["spec"]["tls"][0]["hosts"], one["spec"]["rules"][0]["host"]] for one in of_kind("Ingress")]
    [filled] = [one["data"] for one in of_kind("ConfigMap") if one["metadata"]["name"].startswith("calotype-settings-")]

    assert {f"https://{host}" for several in hosts for host in several} == {filled["CALOTYPE_API_BASE_URL"]}


def test_services_send_traces_to_the_collector() -> None:
    [settings] = [one["data"] for one in of_kind("ConfigMap") if one["metadata"]["name"] == "calotype"]

    assert settings["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4317"
    assert settings["CALOTYPE_LOG_FORMAT"] == "json"
