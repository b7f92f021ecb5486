"""Virtual environments for programs whose packages are not those of the project."""

import hashlib
import subprocess
import venv
from pathlib import Path


def install(lock: Path, environment: Path, *, megabytes: int) -> None:
    """Makes an environment with the packages of a lock file, unless it is there.

    `megabytes` is what a user is told of the download. Raises `CalledProcessError`.
    """
    stamp, wanted = environment / "lock.sha256", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"installing {lock.name}, about {megabytes} MB to download unless cached", flush=True)
    venv.create(environment, with_pip=True, symlinks=True, clear=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", str(lock)], check=True)
    stamp.write_text(wanted, encoding="ascii")
