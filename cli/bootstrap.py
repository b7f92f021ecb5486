"""Makes `.venv` with exactly the locked packages; needs only Python, and does nothing when `.venv` is up to date.

Run as a script: `python -P cli/bootstrap.py run|dev|diffusers`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

#: Supported versions of Python.
OLDEST, NEWEST = (3, 11), (3, 14)
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
#: Download in megabytes by set of packages, measured on Linux; the development packages contain the others.
MEGABYTES = {"run": 80, "dev": 210, "diffusers": 240}
#: Seconds between two lines of progress.
PROGRESS_SECONDS = 30.0
#: Sets that are installed with a set, itself included.
CONTAINS = {"run": ("run",), "dev": ("run", "dev"), "diffusers": ("diffusers",)}
LAUNCHER = """#!/bin/sh
exec "$(dirname "$0")/python" -m cli "$@"
"""


def main(package_set: str) -> int:
    """Installs a set of packages (a key of `MEGABYTES`) unless it is installed; returns an exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return _fail(f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed, this is {sys.version}.")
    if _is_installed(package_set):
        return 0
    began = time.monotonic()
    if not _works():
        print(f"making .venv with Python {sys.version_info[0]}.{sys.version_info[1]}", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True, symlinks=True)
    lock = _lock(package_set)
    count = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    print(
        f"installing {count} locked packages, about {MEGABYTES[package_set]} MB to download unless cached", flush=True
    )
    # No package that needs torch may choose its build.
    no_dependencies = ["--no-deps"] if package_set == "diffusers" else []
    if not _pip([*no_dependencies, "--require-hashes", "-r", str(lock)], began) or (
        no_dependencies and not _install_torch(began)
    ):
        return _fail("The packages could not be installed: see above. Is there a connection to the package index?")
    _point_to_source()
    for contained in CONTAINS[package_set]:
        _stamp(contained).write_text(_fingerprint(contained), encoding="ascii")
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _install_torch(began: float) -> bool:
    """Installs torch, after all that it imports; returns whether it can be used.

    It has no hash, as its build depends on the machine. A build for the processor needs nothing more; for a build for
    CUDA the gigabytes of its libraries are installed, too.
    """
    if not _pip(["--no-deps", "-r", str(_torch())], began):
        return False
    if subprocess.run([str(PYTHON), "-c", "import torch"], check=False, capture_output=True).returncode == 0:
        return True
    print("this torch is a build for CUDA: its libraries for CUDA are installed, several GB", flush=True)
    return _pip(["-r", str(_torch())], began)


def _pip(arguments: Sequence[str], began: float) -> bool:
    """Runs `pip install`, with a line of progress now and then; returns whether it succeeded."""
    # -qq shows errors alone: warnings about mirrors and caches do not concern the packages.
    command = [str(PYTHON), "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", *arguments]
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait(PROGRESS_SECONDS) == 0
            except subprocess.TimeoutExpired:
                print(f"still downloading and installing after {time.monotonic() - began:.0f} s", flush=True)


def _is_installed(package_set: str) -> bool:
    stamp = _stamp(package_set)
    return stamp.exists() and stamp.read_text(encoding="ascii") == _fingerprint(package_set) and _works()


def _works() -> bool:
    """Whether the environment has a Python of a supported version that runs.

    It may have been removed since, or be in a folder that only the user who made the environment may enter.
    """
    check = f"import pip, sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    try:
        return subprocess.run([str(PYTHON), "-c", check], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _point_to_source() -> None:
    """Lets the environment import the project from its source tree, and adds the command `calotype`.

    The paths are relative, and so in ASCII: Python 3.11 reads .pth files in the locale's encoding.
    """
    [packages] = (ENVIRONMENT / "lib").glob("python3.*/site-packages")
    paths = [os.path.relpath(folder, packages) for folder in (ROOT, ROOT / "proto")]
    (packages / "calotype.pth").write_text("\n".join([*paths, ""]), encoding="ascii")
    launcher = ENVIRONMENT / "bin" / "calotype"
    launcher.write_text(LAUNCHER, encoding="ascii")
    launcher.chmod(0o755)


def _fingerprint(package_set: str) -> str:
    torch = _torch().read_bytes() if package_set == "diffusers" else b""
    return hashlib.sha256(_lock(package_set).read_bytes() + torch).hexdigest()


def _lock(package_set: str) -> Path:
    return ROOT / "requirements" / f"{package_set}.txt"


def _torch() -> Path:
    return ROOT / "requirements" / "torch.txt"


def _stamp(package_set: str) -> Path:
    return ENVIRONMENT / f"calotype-{package_set}.stamp"


def _fail(message: str) -> int:
    print(f"calotype: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
