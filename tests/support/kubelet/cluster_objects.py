"""The objects of a rendered overlay, and the secrets that an installation adds to them."""

import base64
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.required_tools import need

K8S = Path(__file__).parents[3] / "deploy" / "k8s"
#: The overlay that runs one pod of each service.
SMALLEST_OVERLAY = "local"


def render(folder: Path) -> list[dict[str, Any]]:
    """Returns what kubectl makes of a folder with a kustomization."""
    kubectl = need("kubectl", install="run make test, which installs it")
    made = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.safe_load_all(made.stdout) if each is not None]


@dataclass(frozen=True)
class ClusterObjects:
    """Objects by kind and name, all of one namespace."""

    #: As `render` returns them.
    rendered: Sequence[Mapping[str, Any]]
    #: Secrets that are made by whoever installs: text by key, by name.
    secrets: Mapping[str, Mapping[str, str]]

    def of_kind(self, *kinds: str) -> Iterator[Mapping[str, Any]]:
        """Objects of these kinds, in the order in which they were rendered."""
        return (each for each in self.rendered if each["kind"] in kinds)

    def named(self, kind: str, name: str) -> Mapping[str, Any]:
        """One object. Raises `LookupError`."""
        for each in self.of_kind(kind):
            if each["metadata"]["name"] == name:
                return each
        raise LookupError(f"{kind} {name} is in no manifest")

    def config(self, name: str) -> Mapping[str, str]:
        """Text by key of a ConfigMap. Raises `LookupError`."""
        data: Mapping[str, str] = self.named("ConfigMap", name)["data"]
        return data

    def secret(self, name: str) -> Mapping[str, str]:
        """Text by key of a Secret: the one of the installation, or else the rendered one. Raises `LookupError`."""
        if name in self.secrets:
            return self.secrets[name]
        found = self.named("Secret", name)
        decoded = {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}
        return {**decoded, **found.get("stringData", {})}

    def pods(self, name: str) -> list[str]:
        """Names of the pods of a workload: NAME-0, NAME-1 and so on; a Job has one."""
        [workload] = (each for each in self.workloads() if each["metadata"]["name"] == name)
        return [f"{name}-{number}" for number in range(workload["spec"].get("replicas", 1))]

    def workloads(self) -> Iterator[Mapping[str, Any]]:
        """Everything that runs pods."""
        return self.of_kind("Job", "StatefulSet", "Deployment")

    def behind(self, service: Mapping[str, Any]) -> list[str]:
        """Names of the workloads that a Service selects."""
        selector = service["spec"].get("selector", {}).items()
        return [
            each["metadata"]["name"]
            for each in self.workloads()
            if selector and selector <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
