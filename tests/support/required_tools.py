"""Programs and libraries that tests need: what is missing skips a test on a person's machine, and fails it in CI."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest


def need(*names: str, install: str) -> str:
    """The path of the first of these programs that is there: of this environment, or else of the system."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for name in names:
        if program := shutil.which(name, path=path):
            return program
    raise _missing(names[0], install)


def need_libraries(*names: str, install: str) -> None:
    """Go on only where all of these can be imported."""
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise _missing(", ".join(missing), install)


def _missing(what: str, install: str) -> BaseException:
    ends = pytest.fail.Exception if os.environ.get("CI") == "true" else pytest.skip.Exception
    return ends(f"{what} is missing: {install}")
