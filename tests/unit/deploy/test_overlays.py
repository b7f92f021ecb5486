"""What kubectl makes of the overlays."""

import subprocess
from typing import Any

import calotype
import pytest
import yaml

from tests.support.deploy.manifests import ALL, K8S, pod
from tests.support.required_tools import need


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


@pytest.mark.parametrize(("overlay", "namespace"), [("dev", "calotype-dev"), ("production", "calotype")])
def test_an_overlay_can_be_rendered(overlay: str, namespace: str) -> None:
    made = rendered(overlay)
    pods = [each for each in made if each["kind"] in ("Deployment", "Job")]
    [image] = {pod(each)["containers"][0]["image"] for each in pods}

    assert len(made) == len(ALL)
    assert {each["metadata"]["namespace"] for each in made} == {namespace}
    assert {each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] for each in pods} == {
        "calotype"
    }
    assert image.endswith(f"calotype:{calotype.__version__}")


def test_brokers_keep_to_machines_of_their_own_in_production_and_share_one_in_dev() -> None:
    in_production, in_dev = (pod(one(rendered(overlay), "StatefulSet", "nats")) for overlay in ("production", "dev"))

    assert "requiredDuringSchedulingIgnoredDuringExecution" in in_production["affinity"]["podAntiAffinity"]
    assert "affinity" not in in_dev


def test_only_where_workers_have_an_identity_of_the_cloud_may_they_ask_for_its_tokens() -> None:
    rules = {
        overlay: one(rendered(overlay), "NetworkPolicy", "workers")["spec"]["egress"]
        for overlay in ("production", "dev")
    }
    asks = {overlay: "169.254.169.254/32" in str(found) for overlay, found in rules.items()}

    assert asks == {"production": True, "dev": False}
