"""Chooses the user of the embedded PostgreSQL: it refuses root, and its folder may be one that only root can reach."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cli.stack import variables
from cli.stack.child import ChildError

#: Users that own nothing and do not log in; the first that the system has is taken.
UNPRIVILEGED = ("nobody", "daemon", "bin")
LAUNCHER = Path(__file__).with_name("run_confined.py")
#: File with the uid that a process sees when its own is not mapped.
OVERFLOW_UID = Path("/proc/sys/kernel/overflowuid")


@dataclass(frozen=True, kw_only=True)
class ServerUser:
    """A way to run a program that refuses root."""

    #: User and group that the program's files must belong to, as the rest of the system sees them.
    uid: int
    #: See `uid`.
    gid: int
    #: What to put before the program's command; empty for this process's own user.
    prefix: tuple[str, ...] = ()


def choose(folder: Path, program: Path, packages: Path) -> ServerUser:
    """Returns the way with the fewest rights in which the program works on the folder; gives the folder to its user.

    `packages` is the folder of all packages that the program needs. Raises `ChildError`, with advice, when no way
    works.
    """
    own = ServerUser(uid=os.geteuid(), gid=os.getegid())
    # Without root's rights there is nothing to give up; but initdb refuses a user without a name.
    if own.uid != 0 and _has_name(own.uid):
        return own
    reasons = []
    for way in _ways(own, ("--write", str(folder), "--read", str(packages), "--")):
        reason = _hand_over(folder, way) or _failure([*way.prefix, str(program), "--version"])
        if not reason:
            return way
        reasons.append(reason)
    raise ChildError(_nothing_works(own, reasons))


def _ways(own: ServerUser, paths: tuple[str, ...]) -> Iterator[ServerUser]:
    """Ways in the order of their rights, fewest first; see `run_confined`."""
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER))
    if own.uid == 0 and (user := _unprivileged()):
        names = ("--user", str(user.pw_uid), "--group", str(user.pw_gid))
        for more in ((), ("--override",)) if sys.platform == "linux" else ((),):
            yield ServerUser(uid=user.pw_uid, gid=user.pw_gid, prefix=(*launcher, *names, *more, *paths))
    if sys.platform == "linux" and _has_name(int(OVERFLOW_UID.read_text(encoding="ascii"))):
        yield ServerUser(uid=own.uid, gid=own.gid, prefix=(*launcher, "--namespace", *paths))


def _unprivileged() -> pwd.struct_passwd | None:
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _has_name(uid: int) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


def _hand_over(folder: Path, way: ServerUser) -> str:
    """Gives the folder with all its content to the way's user; returns why that is impossible, or ""."""
    if folder.stat().st_uid == way.uid:
        return ""
    try:
        for path, _, files in os.walk(folder, topdown=False):
            for name in files:
                os.chown(os.path.join(path, name), way.uid, way.gid, follow_symlinks=False)
            # Last, so that an interrupted hand-over is repeated.
            os.chown(path, way.uid, way.gid)
    except OSError:
        return f"{folder} belongs to user {folder.stat().st_uid} and cannot be given to user {way.uid}"
    return ""


def _failure(command: list[str]) -> str:
    """Returns why the command does not run, or ""."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables.of_system(os.environ))
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _nothing_works(own: ServerUser, reasons: list[str]) -> str:
    cause = "PostgreSQL refuses to run as root" if own.uid == 0 else f"PostgreSQL needs a name for user {own.uid}"
    tried = "; ".join(dict.fromkeys(reasons)) or f"none of the users {', '.join(UNPRIVILEGED)} exists"
    advice = "Run as an ordinary user" if own.uid == 0 else "Run as a user of /etc/passwd"
    return (
        f"{cause}, and no way around that works here ({tried}). {advice}, or with a container's default capabilities."
    )
