"""Makes `.venv` with exactly the locked packages; needs nothing but Python, and does nothing the second time.

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

OLDEST, NEWEST = (3, 11), (3, 14)
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
#: Download in megabytes, measured on Linux; the development packages contain the others.
MEGABYTES = {"run": 80, "dev": 175, "diffusers": 240}
SIGN_OF_LIFE_SECONDS = 30.0
#: A set that is installed contains these sets, too.
CONTAINS = {"run": ("run",), "dev": ("run", "dev"), "diffusers": ("diffusers",)}
LAUNCHER = """#!/bin/sh
exec "$(dirname "$0")/python" -m cli "$@"
"""


def main(wanted: str) -> int:
    """Install a set of packages unless it is there; an exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return _fail(f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed, this is {sys.version}.")
    if _is_done(wanted):
        return 0
    began = time.monotonic()
    if not _works():
        print(f"making .venv with Python {sys.version_info[0]}.{sys.version_info[1]}", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True, symlinks=True)
    lock = _lock(wanted)
    count = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    print(f"installing {count} locked packages, about {MEGABYTES[wanted]} MB to download unless cached", flush=True)
    # Nothing that needs torch may choose a build of it.
    alone = ["--no-deps"] if wanted == "diffusers" else []
    if not _pip([*alone, "--require-hashes", "-r", str(lock)], began) or (alone and not _install_torch(began)):
        return _fail("The packages could not be installed: see above. Is there a connection to the package index?")
    _point_to_source()
    for contained in CONTAINS[wanted]:
        _stamp(contained).write_text(_fingerprint(contained), encoding="ascii")
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def _install_torch(began: float) -> bool:
    """Install torch, once all that it imports is there; whether it can be used.

    It has no hash: which build there is depends on the machine. One for the processor needs nothing more; one for CUDA
    gets the gigabytes that it needs.
    """
    if not _pip(["--no-deps", "-r", str(_torch())], began):
        return False
    if subprocess.run([str(PYTHON), "-c", "import torch"], check=False, capture_output=True).returncode == 0:
        return True
    print("this torch is not for the processor alone: its libraries for CUDA are installed, several GB", flush=True)
    return _pip(["-r", str(_torch())], began)


def _pip(what: Sequence[str], began: float) -> bool:
    """Install, with a sign of life now and then; whether that worked."""
    # Errors alone: warnings of mirrors and caches on this machine say nothing about the packages.
    command = [str(PYTHON), "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", *what]
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait(SIGN_OF_LIFE_SECONDS) == 0
            except subprocess.TimeoutExpired:
                print(f"still downloading and installing after {time.monotonic() - began:.0f} s", flush=True)


def _is_done(wanted: str) -> bool:
    stamp = _stamp(wanted)
    return stamp.exists() and stamp.read_text(encoding="ascii") == _fingerprint(wanted) and _works()


def _works() -> bool:
    """Whether the environment has a Python of a supported version that runs.

    It may have been removed since, or lie where only the user that made the environment may go.
    """
    check = f"import pip, sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    try:
        return subprocess.run([str(PYTHON), "-c", check], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _point_to_source() -> None:
    """Let the environment find the project where it lies.

    Relative to the environment, and so in ASCII: Python 3.11 reads these files in the locale's encoding.
    """
    [packages] = (ENVIRONMENT / "lib").glob("python3.*/site-packages")
    paths = [os.path.relpath(folder, packages) for folder in (ROOT, ROOT / "proto")]
    (packages / "calotype.pth").write_text("\n".join([*paths, ""]), encoding="ascii")
    launcher = ENVIRONMENT / "bin" / "calotype"
    launcher.write_text(LAUNCHER, encoding="ascii")
    launcher.chmod(0o755)


def _fingerprint(wanted: str) -> str:
    torch = _torch().read_bytes() if wanted == "diffusers" else b""
    return hashlib.sha256(_lock(wanted).read_bytes() + torch).hexdigest()


def _lock(wanted: str) -> Path:
    return ROOT / "requirements" / f"{wanted}.txt"


def _torch() -> Path:
    return ROOT / "requirements" / "torch.txt"


def _stamp(wanted: str) -> Path:
    return ENVIRONMENT / f"calotype-{wanted}.stamp"


def _fail(message: str) -> int:
    print(f"calotype: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
