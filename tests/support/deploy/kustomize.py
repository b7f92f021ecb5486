"""Renders overlays and components of `deploy/k8s` with kubectl."""

import functools
import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy.manifests import K8S, settings
from tests.support.required_tools import need

#: Every component.
COMPONENTS = sorted(path.parent.name for path in (K8S / "components").glob("*/kustomization.yaml"))
#: Every overlay.
OVERLAYS = sorted(path.parent.name for path in (K8S / "overlays").glob("*/kustomization.yaml"))


def components_for(overlay: str) -> list[str]:
    """Components that an overlay can have: workload identity needs the accounts of its settings.env."""
    has_accounts = "GENERATOR_ACCOUNT" in settings(overlay)
    return [name for name in COMPONENTS if name != "workload-identity" or has_accounts]


def rendered_folder(folder: Path) -> list[dict[str, Any]]:
    """Every object of a folder with a kustomization."""
    kubectl = need("kubectl", install="run make test, which installs it")
    made = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr
    return [
        found for found in yaml.load_all(made.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if found
    ]


def overlay_with(overlay: str, components: Collection[str], folder: Path) -> list[dict[str, Any]]:
    """Every object of a copy of an overlay with these components, and with none of the others that the overlay has.

    The copy is made in `folder`, which must not be there yet.
    """
    source = K8S / "overlays" / overlay
    shutil.copytree(source, folder)
    file = folder / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text(encoding="utf-8"))
    others = [name for name in kustomization["components"] if not name.startswith("../../components/")]
    kustomization["components"] = [*(f"../../components/{name}" for name in components), *others]
    for key in ("resources", "components"):
        paths = (os.path.relpath((source / name).resolve(), folder.resolve()) for name in kustomization[key])
        kustomization[key] = list(paths)
    file.write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return rendered_folder(folder)


@functools.cache
def component(name: str) -> list[dict[str, Any]]:
    """The objects in a component's own files; those that it patches or generates are missing."""
    files = sorted((K8S / "components" / name).glob("*.yaml"))
    found = (yaml.safe_load_all(path.read_text(encoding="utf-8")) for path in files if path.stem != "kustomization")
    return [manifest for documents in found for manifest in documents if manifest and "kind" in manifest]
