"""Folders with whole systems: who may use them, and their removal."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fresh.words import FreshError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of a folder. Raises `FreshError` where another is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    # Systems in it are not kept up to date, and have programs that make everybody root.
    folder.chmod(0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FreshError(f"another make fresh is at work in {folder}") from None
        yield


def removed(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Remove a folder, unless something is mounted in it: that would be emptied, too. Raises `FreshError`."""
    if not folder.exists():
        return
    whole = folder.resolve()
    if below := [one for one in mounted(mounts) if one.is_relative_to(whole)]:
        raise FreshError(f"{below[0]} is mounted, so {folder} is not removed: umount it first")
    shutil.rmtree(whole)


def mounted(mounts: Path) -> list[Path]:
    """Where something is mounted, as the kernel lists it."""
    lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [Path(_plain(line.split(" ")[1])) for line in lines]


def _plain(text: str) -> str:
    """White space and backslashes are written as octal numbers there."""
    for number in (0o40, 0o11, 0o12, 0o134):
        text = text.replace(f"\\{number:03o}", chr(number))
    return text
