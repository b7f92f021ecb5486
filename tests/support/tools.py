"""Programs that tests need: one that is missing skips its test on a person's machine, and fails it in CI."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def need(*names: str, install: str) -> str:
    """The path of the first of these programs that is there: of this environment, or else of the system."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{names[0]} is missing: {install}")
    pytest.skip(f"{names[0]} is missing: {install}")
