"""Makes `gateway/web/static/vendor`, and checks the types of the pages' scripts; needs npm.

`python -m tests.support.pages.vendor` writes the bundle of other projects' code, its licences and its digest.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "gateway" / "web"
VENDOR = WEB / "static" / "vendor"
BUNDLE, LICENCES, DIGEST = "vendor.js", "LICENCES.txt", "vendor.js.sha256"
#: What the scripts import types from.
_TYPES = Path("docs", "frontend", "calotype.d.ts")
_ESBUILD = (
    *("esbuild", "vendor_entry.js", "--bundle", "--minify", "--format=esm", "--target=es2022"),
    *("--legal-comments=none", "--log-level=warning"),
)


def checkout(folder: Path) -> Path:
    """Copies the pages into an empty folder and installs the packages there; returns the copy of `gateway/web`."""
    copy = folder / "gateway" / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    (folder / _TYPES).parent.mkdir(parents=True)
    shutil.copy(ROOT / _TYPES, folder / _TYPES)
    run(copy, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return copy


def run(folder: Path, *command: str) -> str:
    """Runs a command there and returns its standard output; what it prints is shown if it fails."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def bundled() -> list[str]:
    """Packages whose code is in the bundle, sorted: those that its source imports, and what they depend on."""
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    source = (WEB / "vendor_entry.js").read_text(encoding="utf-8")
    todo = [_package(name) for name in re.findall(r'from "([^"]+)"', source)]
    found: set[str] = set()
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += lock[f"node_modules/{name}"].get("dependencies", {})
    return sorted(found)


def _package(module: str) -> str:
    return "/".join(module.split("/")[: 2 if module.startswith("@") else 1])


def versions() -> dict[str, tuple[str, str]]:
    """Version and licence of the bundled packages, from the lock file."""
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return {
        name: (lock[f"node_modules/{name}"]["version"], lock[f"node_modules/{name}"]["license"]) for name in bundled()
    }


def bundle(copy: Path) -> str:
    """Returns the bundle, made in a folder of `checkout`."""
    head = ", ".join(f"{name} {version} ({licence})" for name, (version, licence) in versions().items())
    code = run(copy, "npm", "exec", "--", *_ESBUILD)
    return f"// Made by `make vendor` from {head}; see {LICENCES}.\n{code}"


def licences(copy: Path) -> str:
    """Returns the licences of the bundled packages."""
    texts = []
    for name, (version, _) in versions().items():
        [path] = (copy / "node_modules" / name).glob("LICEN[CS]E*")
        texts.append(f"{name} {version}\n\n{path.read_text(encoding='utf-8').strip()}\n")
    return f"\n{'-' * 80}\n\n".join(texts)


def digest(text: str) -> str:
    """Returns the content of the digest file, in the format of `sha256sum`."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}  {BUNDLE}\n"


def _write() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = checkout(Path(scratch))
        code = bundle(copy)
        contents = {BUNDLE: code, LICENCES: licences(copy), DIGEST: digest(code)}
        for name, text in contents.items():
            (VENDOR / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
