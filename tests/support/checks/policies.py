"""Runs checkov over each overlay with every component that it can have; `deploy/checkov.yaml` has the exceptions.

checkov has an environment of its own, from `requirements/policies.txt`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from tests.support.deploy import kustomize
from tests.support.environments import install

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / "out" / "policies-venv"
EXCEPTIONS = ROOT / "deploy" / "checkov.yaml"


def main() -> int:
    """Prints what is found; returns the exit code."""
    install(ROOT / "requirements" / "policies.txt", ENVIRONMENT, megabytes=70)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifests = folder / "manifests"
        manifests.mkdir()
        for overlay in kustomize.OVERLAYS:
            objects = kustomize.overlay_with(overlay, kustomize.components_for(overlay), folder / overlay)
            (manifests / f"{overlay}.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
        command = [str(ENVIRONMENT / "bin" / "checkov"), "--config-file", str(EXCEPTIONS), "-d", str(manifests)]
        found = subprocess.run(command, check=False, cwd=folder).returncode
    if not found:
        print(f"checkov finds nothing in {', '.join(kustomize.OVERLAYS)}, each with its components")
    return found


if __name__ == "__main__":
    sys.exit(main())
