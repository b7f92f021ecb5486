"""The version of this program."""

import tomllib
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def version() -> str:
    """The version of the source tree that this runs from, else of the installed package; `unknown` without either."""
    try:
        return str(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, LookupError, ValueError):
        pass
    try:
        return metadata.version("calotype")
    except metadata.PackageNotFoundError:
        return "unknown"
