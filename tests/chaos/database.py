"""What may befall a database besides its end: rows locked by others, no free connection, a full disk, a clock set."""

import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psutil
import psycopg2

from tests.chaos import clock
from tests.chaos.stack import ChaosStack

LOCK_JOBS = """
SELECT id FROM jobs WHERE state IN ('queued', 'processing', 'generating', 'uploading')
ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED
"""
LOCK_TENANTS = "SELECT tenant FROM tenant_load ORDER BY tenant FOR UPDATE"
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> ALL(%s)
"""
#: Bytes after which a file has no room any more.
ROOM = 8_192


class DatabaseFaults:
    """Faults of a stack's database, each for so many seconds."""

    def __init__(self, stack: ChaosStack, *, seconds: float) -> None:
        self._stack = stack
        self._seconds = seconds
        self._pause = threading.Event()

    def lock(self, statement: str) -> None:
        """As somebody with a psql of his own would."""
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            self._pause.wait(self._seconds)

    def take_all_connections(self) -> None:
        """Services lose theirs, and find none that is free."""
        with ExitStack() as held:
            taken = self._take(held)
            with taken[0], taken[0].cursor() as cursor:
                cursor.execute(END_OTHERS, ([one.info.backend_pid for one in taken],))
            # Those that have just become free, before their owners come again.
            self._take(held)
            self._pause.wait(self._seconds)

    def fill_disk(self) -> None:
        """No file of the running server grows any more; it ends, and cannot start again while that is so."""
        with without_room(self._stack.family(self._stack.database)):
            self._pause.wait(self._seconds)

    def set_clock(self, seconds: float) -> None:
        """Forward, or back."""
        with self._connected() as connection:
            clock.step(connection, seconds)

    def _take(self, held: ExitStack) -> list[Any]:
        taken = []
        while True:
            try:
                taken.append(held.enter_context(self._connected()))
            except psycopg2.OperationalError:
                return taken

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self._stack.addresses.database_url, connect_timeout=3)) as connection:
            yield connection


@contextmanager
def without_room(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Processes whose files cannot grow, as on a full disk; of those that others start meanwhile they can."""
    before, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    for process in processes:
        _limit(process, f"{ROOM}:")
    try:
        yield
    finally:
        for process in processes:
            # One that found no room may have ended.
            _limit(process, "unlimited:" if before == resource.RLIM_INFINITY else f"{before}:")


def can_lack_room(processes: Sequence[psutil.Process]) -> bool:
    """Whether this process may limit those."""
    return shutil.which("prlimit") is not None and all(_limit(process, "") for process in processes)


def _limit(process: psutil.Process, fsize: str) -> bool:
    """Set a limit, or only ask; as the process's own user, because of others' only the mightiest may."""
    try:
        user, group = process.uids().real, process.gids().real
    except psutil.NoSuchProcess:
        return False
    asked = ["prlimit", f"--pid={process.pid}", f"--fsize={fsize}" if fsize else "--fsize"]
    is_mine = (user, group) == (os.getuid(), os.getgid())
    other: dict[str, Any] = {} if is_mine else {"user": user, "group": group, "extra_groups": []}
    try:
        done = subprocess.run(asked, check=False, capture_output=True, **other)
    except PermissionError:
        return False
    return done.returncode == 0
