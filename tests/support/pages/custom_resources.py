"""JSON schemas of custom resources, made of the types in npm's `@kubernetes-models`; needs npm, and some minutes.

`python -m tests.support.pages.custom_resources` writes `tests/support/deploy/custom_resources/*.schema.json` anew. A
schema allows no field that the type does not have. It says nothing of a string's form or a number's bounds.
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "custom_resources"
_KIND = re.compile(r"\w+ as (\w+)")
_MINUTES = 15


def write(scratch: Path) -> None:
    """Writes the schema of each kind of `kinds.ts`; the packages are installed in a new folder, `scratch`."""
    shutil.copytree(FOLDER, scratch, ignore=shutil.ignore_patterns("*.schema.json"))
    _run(scratch, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    for kind in _KIND.findall((FOLDER / "kinds.ts").read_text(encoding="utf-8")):
        options = ("--path", "kinds.ts", "--tsconfig", "tsconfig.json", "--type", kind, "--no-type-check")
        schema = json.loads(_run(scratch, "npm", "exec", "--", "ts-json-schema-generator", *options))
        text = json.dumps(_without_descriptions(schema), separators=(",", ":"), sort_keys=True)
        (FOLDER / f"{kind}.schema.json").write_text(f"{text}\n", encoding="utf-8")


def _without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may be named `description`, too.
    return {
        name: _without_descriptions(value)
        for name, value in schema.items()
        if name != "description" or not isinstance(value, str)
    }


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=60 * _MINUTES)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "custom_resources")
