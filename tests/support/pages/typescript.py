"""Writes the types of `/openapi.json` for TypeScript: `python -m tests.support.pages.typescript`; needs npm."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.gateway.gateway_app import assembled

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "frontend"
TYPES = "calotype.d.ts"
#: Types may be left out of a request where it has a default; they are exported under their own names.
_OPTIONS = ("--default-non-nullable", "false", "--root-types", "--root-types-no-schema-prefix")


def generated(folder: Path) -> str:
    """The types, made in a new folder, where the packages that make them stay installed."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules", TYPES))
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    (folder / "openapi.json").write_text(json.dumps(asyncio.run(_document())), encoding="utf-8")
    run(folder, "npm", "exec", "--", "openapi-typescript", "openapi.json", "--output", TYPES, *_OPTIONS)
    return (folder / TYPES).read_text(encoding="utf-8")


def run(folder: Path, *command: str) -> None:
    """Run a command there; what it prints is shown if it fails."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


async def _document() -> dict[str, Any]:
    """The document without examples, which would be most of the types."""
    async with assembled("127.0.0.1:1") as (app, _):
        document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for shape in part.get("content", {}).values():
                    shape.pop("example")
    return document


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        (FOLDER / TYPES).write_text(generated(Path(scratch) / "frontend"), encoding="utf-8")
