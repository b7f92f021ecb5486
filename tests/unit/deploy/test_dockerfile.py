"""The Dockerfile as a linter sees it."""

import subprocess

from tests.support.deploy.manifests import ROOT
from tests.support.required_tools import need

#: Rules of hadolint that do not hold here, with the reason.
EXCEPTIONS: dict[str, str] = {}


def test_the_dockerfile_follows_the_rules_of_hadolint() -> None:
    hadolint = need("hadolint", install="run make test, which installs it")
    ignored = [part for rule in EXCEPTIONS for part in ("--ignore", rule)]
    command = [hadolint, "--no-color", *ignored, ROOT / "deploy" / "Dockerfile"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert checked.returncode == 0, checked.stdout + checked.stderr
