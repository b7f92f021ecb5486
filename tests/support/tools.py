"""Tools that are no Python packages: a test without its tool is skipped on a person's machine, and fails in CI."""

import os
import shutil

import pytest


def need(*names: str, install: str) -> str:
    """The path of the first of these programs that is there."""
    for name in names:
        if path := shutil.which(name):
            return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{names[0]} is missing: {install}")
    pytest.skip(f"{names[0]} is missing: {install}")
