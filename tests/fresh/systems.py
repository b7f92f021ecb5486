"""Systems: installed once a week, copied for each run, with a clone of the project in them."""

import subprocess
import time
from pathlib import Path

from tests.fresh.entering import ALONE, finished
from tests.fresh.folder import removed
from tests.fresh.words import FreshError

#: What the README asks for, and what a clone needs: git, and certificates for the package index.
PACKAGES = ("python3", "python3-venv", "make", "git", "ca-certificates")
PROJECT = "root/calotype"
WEEK = 7 * 24 * 3600.0
INSTALL_SECONDS = 1800.0


def base(suite: str, folder: Path, log: Path) -> Path:
    """A system with the packages, as it was installed; made unless there is one of this week. Raises `FreshError`."""
    made = folder / "bases" / suite
    if made.exists() and time.time() - made.stat().st_mtime < WEEK:
        return made
    removed(made)
    new = made.with_name(f"{suite}.new")
    removed(new)
    new.parent.mkdir(parents=True, exist_ok=True)
    # An unsigned index is refused, also where the keys are not installed.
    command = [*ALONE, "--mount-proc", "debootstrap", "--variant=minbase", "--force-check-gpg"]
    command += [f"--include={','.join(PACKAGES)}", suite, str(new)]
    code, _ = finished(command, log=log, limit=INSTALL_SECONDS)
    if code != 0:
        raise FreshError(f"debootstrap failed ({code}): see {log}")
    # Files with times of their own were unpacked there.
    new.touch()
    return new.rename(made)


def copied(base: Path, system: Path) -> None:
    """A copy of an installed system, in place of the one of an earlier run. Raises `FreshError`."""
    removed(system)
    system.parent.mkdir(parents=True, exist_ok=True)
    _done("the system could not be copied", "cp", "-a", "--reflink=auto", str(base), str(system))
    (system / "root").chmod(0o700)


def cloned(source: Path, system: Path) -> None:
    """A clone of what is checked out in a project. Raises `FreshError`."""
    # The checkout may belong to a person who became root for this.
    upload = "git -c 'safe.directory=*' upload-pack"
    command = ["git", "clone", "--quiet", "--no-local", "--upload-pack", upload, str(source), str(system / PROJECT)]
    _done("the project could not be cloned", *command)


def is_dirty(source: Path) -> bool:
    """Whether a checkout has changes that its clone will not have. Raises `FreshError`."""
    command = ["git", "-c", "safe.directory=*", "-C", str(source), "status", "--porcelain"]
    return bool(_done("this is no clone of the project", *command).strip())


def _done(problem: str, *command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise FreshError(f"{problem}: {done.stderr.strip()[-300:]}")
    return done.stdout
