"""Builds a wheel of this repository and installs it in an empty environment.

What it requires is taken from this environment, so that nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project, built into a folder."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, name: str, environment: Path, *, extra: str = "") -> Path:
    """Where packages lie in a new environment that has the wheel and what it requires, with an extra of it."""
    venv.create(environment, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", environment]
    install = [*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel]
    subprocess.run(install, check=True, capture_output=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))
    [distribution] = metadata.distributions(name=name, path=[str(packages)])
    for required in _required_by(distribution, name, extra):
        _link(required, packages, environment)
    return packages


def _required_by(installed: metadata.Distribution, name: str, extra: str) -> Iterator[metadata.Distribution]:
    """What it requires, and what that requires in turn, as they are installed here."""
    waiting, seen = [Requirement(f"{name}[{extra}]" if extra else name)], {canonicalize_name(name)}
    while waiting:
        wanted = waiting.pop()
        found = installed if wanted.name == name else metadata.distribution(wanted.name)
        assert wanted.specifier.contains(found.version)
        for one in map(Requirement, found.requires or ()):
            extras = wanted.extras or {""}
            is_needed = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
            if is_needed and canonicalize_name(one.name) not in seen:
                seen.add(canonicalize_name(one.name))
                waiting.append(one)
        if found is not installed:
            yield found


def _link(distribution: metadata.Distribution, packages: Path, environment: Path) -> None:
    for file in distribution.files or ():
        source = Path(str(file.locate()))
        # What was compiled here is no part of it, and commands in Python would run this environment's.
        if "__pycache__" in file.parts or (".." in file.parts and not _is_program(source)):
            continue
        link = environment / "bin" / source.name if ".." in file.parts else packages / file
        link.parent.mkdir(parents=True, exist_ok=True)
        # No symbolic link: a program that may read its own folder alone could not follow it.
        try:
            os.link(source, link)
        except OSError:
            shutil.copy2(source, link)


def _is_program(path: Path) -> bool:
    """Whether it is a program of the system, such as a server."""
    with path.open("rb") as file:
        return path.parent.name == "bin" and file.read(2) != b"#!"
