"""What kubectl makes of the overlays."""

import functools
import subprocess
from typing import Any

import calotype
import pytest
import yaml

from tests.support.deploy.manifests import ALL, K8S, ROOT, pod, settings, template
from tests.support.required_tools import need


@functools.cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """Every object of an overlay."""
    kubectl = need("kubectl", install="run make test, which installs it")
    made = subprocess.run(
        [kubectl, "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return [one for one in yaml.safe_load_all(made.stdout) if one is not None]


def one(made: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """One object of an overlay."""
    return next(each for each in made if (each["kind"], each["metadata"]["name"]) == (kind, name))


OF_THE_CLUSTER = ("Namespace", "PriorityClass")
OVERLAYS = {"local": "calotype-local", "staging": "calotype-staging", "production": "calotype"}


@pytest.mark.parametrize(("overlay", "namespace"), OVERLAYS.items())
def test_an_overlay_can_be_rendered(overlay: str, namespace: str) -> None:
    made = rendered(overlay)
    pods = [each for each in made if each["kind"] in ("Deployment", "Job", "CronJob")]

    assert len(made) == len(ALL)
    assert {each["metadata"]["namespace"] for each in made if each["kind"] not in OF_THE_CLUSTER} == {namespace}
    assert one(made, "Namespace", namespace)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {template(each)["metadata"]["labels"]["app.kubernetes.io/part-of"] for each in pods} == {"calotype"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_filled_in_is_where_it_belongs_and_nothing_else_is(overlay: str) -> None:
    filled, made = settings(overlay), rendered(overlay)
    pods = [pod(each) for each in made if each["kind"] in ("Deployment", "Job", "CronJob")]
    told = [variable for each in pods for variable in each["containers"][0].get("env", ())]
    sources = [variable["valueFrom"]["configMapKeyRef"] for variable in told if "valueFrom" in variable]
    used = {source["key"] for source in sources}
    # The rest is replaced, in an image, an account or a policy.
    replaced = {key for key, value in filled.items() if not key.startswith("CALOTYPE_") and value in written(made)}

    assert {each["containers"][0]["image"] for each in pods} == {filled["IMAGE"]}
    assert used | replaced == filled.keys()
    assert {source["name"] for source in sources} == {
        each["metadata"]["name"] for each in made if each["metadata"]["name"].startswith("calotype-settings-")
    }


def written(made: list[dict[str, Any]]) -> str:
    """Every object but the ConfigMap of what is filled in."""
    return yaml.safe_dump([each for each in made if not each["metadata"]["name"].startswith("calotype-settings-")])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_filled_in_agrees_with_itself(overlay: str) -> None:
    filled = settings(overlay)

    assert filled["IMAGE"].endswith(f"calotype:{calotype.__version__}")
    assert filled["CALOTYPE_PUBLIC_BASE_URL"].endswith(f"/{filled['CALOTYPE_BUCKET']}/")
    assert filled["CALOTYPE_BUCKET"] != filled["CALOTYPE_STAGING_BUCKET"]


def test_installations_share_no_bucket_and_no_address() -> None:
    keys = ("CALOTYPE_BUCKET", "CALOTYPE_STAGING_BUCKET", "CALOTYPE_API_BASE_URL")
    values = [settings(overlay)[key] for overlay in OVERLAYS for key in keys]

    assert len(set(values)) == len(values)


def test_a_changed_setting_restarts_the_pods_that_read_it() -> None:
    names = {each["metadata"]["name"] for each in rendered("production") if each["kind"] == "ConfigMap"}

    assert sum(name.startswith(("calotype-settings-", "calotype-provider-file-")) for name in names) == 2


def test_an_overlay_says_names_sizes_and_files_and_nothing_else() -> None:
    keys = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "replicas", "patches"}
    for overlay in ("staging", "production"):
        file = yaml.safe_load((K8S / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8"))
        assert file.keys() == keys
        assert [patch["target"] for patch in file["patches"]] == [
            {"kind": "HorizontalPodAutoscaler", "name": "gateway"}
        ]
        assert "Replicas" in file["patches"][0]["patch"]


def test_sizes_are_said_once() -> None:
    for overlay in OVERLAYS:
        made = rendered(overlay)
        scaled = {each["spec"]["scaleTargetRef"]["name"] for each in made if each["kind"] == "HorizontalPodAutoscaler"}
        counted = {each["metadata"]["name"] for each in made if "replicas" in each.get("spec", ())}
        deployments = {each["metadata"]["name"] for each in made if each["kind"] == "Deployment"}

        # A number of replicas in the manifest would undo that of the autoscaler at each apply.
        assert not scaled & counted
        assert deployments <= scaled | counted


def test_services_connect_to_no_other_database() -> None:
    for overlay in OVERLAYS:
        rules = [
            rule["to"]
            for each in rendered(overlay)
            if each["kind"] == "NetworkPolicy"
            for rule in each["spec"].get("egress", ())
            if {"port": 5432} in rule["ports"]
        ]
        assert rules == [[{"ipBlock": {"cidr": settings(overlay)["DATABASE_CIDR"]}}]] * 4


INSTALL = ROOT / "deploy" / "install.yaml"


def test_the_rendered_file_is_that_of_the_production_overlay() -> None:
    # After a change: .venv/bin/kubectl kustomize deploy/k8s/overlays/production > deploy/install.yaml
    committed = list(yaml.safe_load_all(INSTALL.read_text(encoding="utf-8")))

    assert committed == rendered("production")
    assert not [each for each in committed if each["kind"] == "Secret"]


def test_brokers_keep_to_machines_of_their_own_in_production_and_share_one_locally() -> None:
    in_production, locally = (pod(one(rendered(overlay), "StatefulSet", "nats")) for overlay in ("production", "local"))

    assert "requiredDuringSchedulingIgnoredDuringExecution" in in_production["affinity"]["podAntiAffinity"]
    assert "affinity" not in locally


def test_only_where_workers_have_an_identity_of_the_cloud_may_they_ask_for_its_tokens() -> None:
    for policy in ("workers", "reconcile"):
        rules = {overlay: one(rendered(overlay), "NetworkPolicy", policy)["spec"]["egress"] for overlay in OVERLAYS}
        asks = {overlay: "169.254.169.254/32" in str(found) for overlay, found in rules.items()}

        assert asks == {"production": True, "staging": True, "local": False}
    for name in ("generator", "uploader"):
        account = one(rendered("production"), "ServiceAccount", name)["metadata"]["annotations"]
        assert account == {"iam.gke.io/gcp-service-account": settings("production")[f"{name.upper()}_ACCOUNT"]}
