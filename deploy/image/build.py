"""Fills a folder with what the image has: the Dockerfile runs it on `/`, tests on an empty folder.

Run as a script, with nothing but Python and pip: `python -P build.py packages PREFIX LOCK`, then, with the sources in
PREFIX/srv/calotype, `python -P build.py finish PREFIX LOCK`. Two runs with the same input write the same bytes.
"""

import compileall
import importlib.metadata
import json
import os
import py_compile
import re
import subprocess
import sys
import uuid
import venv
from collections.abc import Mapping
from pathlib import Path

#: Virtual environment and sources, below a prefix.
ENVIRONMENT, SOURCES = Path("opt/calotype"), Path("srv/calotype")
#: The bill of materials, in CycloneDX's format.
BILL = SOURCES / "sbom.cdx.json"
LAUNCHER = """#!/bin/sh
exec "$(dirname "$0")/python" -P -m cli "$@"
"""
#: Time of every file, in seconds since 1970.
TIME = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)


def install_packages(prefix: Path, lock: Path) -> None:
    """Makes the environment with exactly the locked packages; it has no pip. Raises `CalledProcessError`."""
    environment = prefix / ENVIRONMENT
    venv.create(environment, symlinks=True)
    pip = [sys.executable, "-P", "-m", "pip", "--python", str(environment / "bin" / "python")]
    options = ["--no-input", "--disable-pip-version-check", "--only-binary", ":all:", "--no-compile"]
    subprocess.run([*pip, "install", "-qq", *options, "--require-hashes", "-r", str(lock)], check=True)


def finish(prefix: Path, lock: Path) -> None:
    """Adds the command `calotype` and the bill of materials, compiles everything, and sets the time of all files."""
    launcher = prefix / ENVIRONMENT / "bin" / "calotype"
    launcher.write_text(LAUNCHER, encoding="ascii")
    launcher.chmod(0o755)
    bill = bill_of_materials(_packages(prefix), lock.read_text(encoding="utf-8"), version=_version(prefix))
    (prefix / BILL).write_text(f"{json.dumps(bill, indent=1, sort_keys=True)}\n", encoding="utf-8")
    for folder in (ENVIRONMENT / "lib", SOURCES):
        # The root file system is read-only, and files never change: Python need not check whether they have.
        compileall.compile_dir(
            prefix / folder,
            quiet=2,
            force=True,
            stripdir=str(prefix),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    for folder in (ENVIRONMENT, SOURCES):
        for path in [prefix / folder, *(prefix / folder).rglob("*")]:
            os.utime(path, (TIME, TIME), follow_symlinks=False)


def bill_of_materials(packages: Path, lock: str, *, version: str) -> dict[str, object]:
    """A bill in CycloneDX 1.6 of the packages installed in a folder, with the hashes that the lock file allows.

    Raises `LookupError` where a package is not in the lock file in this version.
    """
    hashes = locked(lock)
    found = sorted(importlib.metadata.distributions(path=[str(packages)]), key=_name)
    components = [_component(each, hashes[_name(each), each.version]) for each in found]
    project = {"type": "application", "name": "calotype", "version": version, "bom-ref": f"pkg:pypi/calotype@{version}"}
    content = json.dumps([project, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": project},
        "components": components,
    }


def locked(text: str) -> Mapping[tuple[str, str], list[str]]:
    """SHA-256 of the files that a lock file allows, by name and version."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in re.split(r"^(?=\w)", text, flags=re.MULTILINE):
        if match := re.match(r"([\w.-]+)==(\S+)", entry):
            found[_normal(match[1]), match[2]] = re.findall(r"--hash=sha256:(\w+)", entry)
    return found


def _component(package: importlib.metadata.Distribution, hashes: list[str]) -> dict[str, object]:
    url = f"pkg:pypi/{_name(package)}@{package.version}"
    licence = package.metadata.get("License-Expression")
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.metadata["Name"],
        "version": package.version,
        "purl": url,
        "licenses": [{"expression": licence}] if licence else [],
        # Of each file that may be installed, by platform: the hash of one component would be only one of them.
        "properties": [{"name": "calotype:locked-sha256", "value": each} for each in hashes],
    }


def _packages(prefix: Path) -> Path:
    [packages] = (prefix / ENVIRONMENT / "lib").glob("python3.*/site-packages")
    return packages


def _version(prefix: Path) -> str:
    text = (prefix / SOURCES / "calotype" / "__init__.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return str(version)


def _name(package: importlib.metadata.Distribution) -> str:
    return _normal(package.metadata["Name"])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    {"packages": install_packages, "finish": finish}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
