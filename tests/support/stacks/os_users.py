"""What a process may be on a machine: its user, capabilities, name, folder; played with util-linux where possible."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.required_tools import need

ROOT = Path(__file__).parents[3]
#: Everything that `make demo` reads, and the tests' own programs.
SOURCES = ("Makefile", ".ci", "cli", "common", "gateway", "proto", "requirements", "services", "tests")


def with_capabilities(*names: str) -> list[str]:
    """A command's beginning that leaves root these capabilities alone."""
    flags = "".join(f",+{name}" for name in names)
    return [need("setpriv", install="apt-get install util-linux"), f"--bounding-set=-all{flags}", "--inh-caps=-all"]


def require_rights() -> None:
    """Skip the test where this process has no capability that it could give up."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    if not int(re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)[0], 16):
        pytest.skip("this process has no rights to give up")


def as_user(uid: int) -> list[str]:
    """A command's beginning that makes it another user's, with no rights of root left."""
    setpriv = need("setpriv", install="apt-get install util-linux")
    # What setpriv runs is still found with root's rights; what the shell runs is not.
    return [setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", "sh", "-c", 'exec "$@"', "sh"]


def where(setup: str) -> list[str]:
    """A command's beginning that runs it as its arguments, where a shell has set up mounts of its own."""
    unshare = need("unshare", install="apt-get install util-linux")
    return [unshare, "--mount", "sh", "-euc", f'{setup}\nexec "$@"', "sh"]


def require_python(beginning: list[str]) -> None:
    """Skips the test where a command's user cannot run the Python that these tests run on."""
    python = str(Path(sys.executable).resolve())
    require([*beginning, python, "-c", "pass"], reason="this Python lies where only root may go")


def require(beginning: list[str], *, reason: str) -> None:
    """Skip the test where commands cannot begin so."""
    done = subprocess.run([*beginning, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{reason}: {done.stderr.strip()}")


def works(beginning: list[str], *command: str) -> bool:
    """Whether a command that begins so succeeds."""
    return subprocess.run([*beginning, *command], capture_output=True, check=False).returncode == 0


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass."""
    made = Path(tempfile.mkdtemp(prefix="calotype-open-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def checkout(folder: Path) -> Iterator[Path]:
    """A copy of the project with its packages installed, at a place of the test's choice."""
    folder.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(ROOT / ".venv", folder / ".venv", symlinks=True, copy_function=_link)
    yield folder
    shutil.rmtree(folder)


def _link(source: str, target: str) -> None:
    """A file once more under another name; a copy where names would lie on two file systems."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
