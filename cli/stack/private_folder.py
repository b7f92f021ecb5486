"""The folder of a stack: only its owner may enter it."""

import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cli.errors import CommandFailed, ExitCode

#: Permission bits of group and others.
OTHERS = 0o077


def make_private(folder: Path, report: Callable[[str], None]) -> None:
    """Makes the folder, or closes it to others where an earlier version left it open, and reports that.

    Raises `CommandFailed` when it cannot be closed, or holds something else than a stack.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_open(folder):
            _close(folder)
            report(f"others could enter {folder}; it is now closed to them (mode 0700)")
        for log in (folder / "logs").glob("*.log*"):
            if _is_open(log):
                log.chmod(0o600)
    except OSError as error:
        raise CommandFailed(f"The folder {folder} cannot be used: {error.strerror}.", ExitCode.USAGE) from error


def _close(folder: Path) -> None:
    # A home folder or /tmp must not be closed.
    if any(folder.iterdir()) and not (folder / "keys.json").exists():
        advice = "choose another with --data, or close it: chmod 700"
        raise CommandFailed(f"Others may enter {folder}, which holds no stack; {advice}.", ExitCode.USAGE)
    with suppress(PermissionError):
        folder.chmod(0o700)
    if _is_open(folder):
        message = f"Others may enter {folder}, and this user cannot close it; choose another with --data."
        raise CommandFailed(message, ExitCode.USAGE)


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & OTHERS)
