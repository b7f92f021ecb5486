"""The Kubernetes manifests as objects, read from their files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
K8S = ROOT / "deploy" / "k8s"
NAME = "app.kubernetes.io/name"


def objects(folder: str) -> list[dict[str, Any]]:
    """Every object of a folder's files."""
    files = sorted(path for path in (K8S / folder).glob("*.yaml") if path.name != "kustomization.yaml")
    return [manifest for path in files for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def settings(overlay: str) -> dict[str, str]:
    """What the overlay's settings.env says."""
    text = (K8S / "overlays" / overlay / "settings.env").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def generated(overlay: str) -> list[dict[str, Any]]:
    """The ConfigMaps that kubectl makes of the overlay's files, under the names that manifests give them."""
    folder = K8S / "overlays" / overlay
    named_files = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
    return [
        {
            "kind": "ConfigMap",
            "metadata": {"name": one["name"], **one["options"]},
            "data": settings(overlay)
            if "envs" in one
            else {name: (folder / name).read_text(encoding="utf-8") for name in one["files"]},
        }
        for one in named_files
    ]


ALL = objects("base") + objects("components/nats") + generated("production")


def of_kind(*kinds: str) -> Iterator[dict[str, Any]]:
    """Objects of these kinds."""
    return (manifest for manifest in ALL if manifest["kind"] in kinds)


def named(kind: str, name: str) -> dict[str, Any]:
    """One object."""
    return next(manifest for manifest in of_kind(kind) if manifest["metadata"]["name"] == name)


def template(workload: Mapping[str, Any]) -> dict[str, Any]:
    """Labels and specification of the workload's pods."""
    job = workload["spec"]["jobTemplate"] if workload["kind"] == "CronJob" else workload
    found: dict[str, Any] = job["spec"]["template"]
    return found


def pod(workload: Mapping[str, Any]) -> dict[str, Any]:
    """What the workload's pods are."""
    spec: dict[str, Any] = template(workload)["spec"]
    return spec


def containers(workload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Containers of the workload's pods."""
    specs: list[dict[str, Any]] = pod(workload)["containers"]
    return specs


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """What the container's process finds in its environment; secrets are left out."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            variables |= named("ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", ()):
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
        elif "configMapKeyRef" in variable["valueFrom"]:
            key = variable["valueFrom"]["configMapKeyRef"]
            variables[variable["name"]] = named("ConfigMap", key["name"])["data"][key["key"]]
    return variables
