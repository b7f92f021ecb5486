"""The Kubernetes manifests as objects, read from their files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
NAME = "app.kubernetes.io/name"


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
