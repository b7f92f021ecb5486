"""Two PostgreSQL servers, of which one is the synchronous standby of the other: what is committed is in both.

Commits wait for the standby however long it is away.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from cli.stack import postgres
from cli.stack.child import Child, Program
from cli.stack.ports import free_port
from tests.support.patience import PATIENCE
from tests.support.servers.reaper import reaped

NAMES = ("postgres-1", "postgres-2")
#: Appended to the configuration of the first; the other gets a copy. A standby that is back reports after the interval
#: what it has, unless there is more to get, which there is not while every commit waits for that report.
CONFIGURATION = """
synchronous_standby_names = 'ANY 1 ("postgres-1", "postgres-2")'
wal_keep_size = 512MB
wal_receiver_status_interval = 1s
"""
WRITTEN = "SELECT pg_current_wal_flush_lsn()"
SYNCHRONOUS = """
SELECT count(*) FROM pg_stat_replication
WHERE state = 'streaming' AND sync_state = 'quorum' AND flush_lsn >= %s
"""


class PostgresPair:
    """Two servers by name; the caller runs their programs, and says which has died."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self._folder = folder
        self._ports = dict(zip(NAMES, ports, strict=True))
        #: The server that takes writes.
        self.primary, self.standby = NAMES
        postgres.prepare(self._data(self.primary))
        with (self._data(self.primary) / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(CONFIGURATION)
        postgres.password_file(self._data(self.standby)).parent.mkdir()
        shutil.copy(postgres.password_file(self._data(self.primary)), postgres.password_file(self._data(self.standby)))

    def program(self, name: str) -> Program:
        """The server on its folder."""
        log = self._folder / "logs" / f"{name}.log"
        return replace(postgres.program(self._data(name), log=log, port=self._ports[name])[0], name=name)

    @property
    def url(self) -> str:
        """The superuser's, of both."""
        password = postgres.password_file(self._data(self.primary)).read_text(encoding="ascii").strip()
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        return f"postgresql://postgres:{password}@{hosts}/postgres"

    def copy_to_standby(self) -> None:
        """Gives the standby, which does not run, a fresh copy of the primary's data."""
        data = self._data(self.standby)
        made = data.with_name(f"{data.name}.new")
        if data.exists():
            # Renamed first: processes of a server that was killed may write there for a moment.
            data.replace(made.with_name("old"))
        for old in (made, made.with_name("old")):
            shutil.rmtree(old, ignore_errors=True)
        made.mkdir(mode=0o700)
        source = self._url_of(self.primary)
        arguments = ["--pgdata", str(made / "data"), "--dbname", source, "--checkpoint=fast", "--write-recovery-conf"]
        postgres.run_tool("pg_basebackup", arguments, made)
        connection = f"{source}?application_name={self.standby}"
        with (made / "data" / "postgresql.auto.conf").open("a", encoding="ascii") as file:
            file.write(f"primary_conninfo = '{connection}'\n")
        (made / "data").replace(data)
        made.rmdir()

    def wait_synchronous(self) -> None:
        """Waits until the standby has all that is committed, and every commit waits for it."""
        with self._connected(self.primary) as connection, connection.cursor() as cursor:
            # A crash of the primary ends waits of commits, which are visible afterwards wherever they are.
            cursor.execute(WRITTEN)
            [written] = cursor.fetchone()
            for _ in range(int(PATIENCE / 0.05)):
                cursor.execute(SYNCHRONOUS, (written,))
                if cursor.fetchone()[0]:
                    return
                cursor.execute("SELECT pg_sleep(0.05)")
        raise AssertionError(f"{self.standby} was not synchronous within {PATIENCE:.0f} s")

    def promote(self) -> None:
        """Lets the standby take writes; the primary has ended, and must not run again before `copy_to_standby`."""
        with self._connected(self.standby) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_promote(true, %s)", (int(PATIENCE),))
            assert cursor.fetchone() == (True,)
        self.primary, self.standby = self.standby, self.primary

    @contextmanager
    def _connected(self, name: str) -> Iterator[Any]:
        with closing(psycopg2.connect(self._url_of(name), connect_timeout=5)) as connection:
            connection.autocommit = True
            yield connection

    def _url_of(self, name: str) -> str:
        user = urlsplit(self.url).netloc.rpartition("@")[0]
        return f"postgresql://{user}@127.0.0.1:{self._ports[name]}/postgres"

    def _data(self, name: str) -> Path:
        return self._folder / name / "data"


class RunningPair:
    """A pair whose servers this process runs; nobody starts again what ended."""

    def __init__(self, pair: PostgresPair) -> None:
        self.pair = pair
        self._children: dict[str, Child] = {}
        self._leases = ExitStack()

    def start(self, name: str) -> None:
        """Starts a server and waits until it accepts connections."""
        child = self._children[name] = Child(self.pair.program(name))
        child.start()
        self._leases.enter_context(reaped(child.pid))
        child.wait_ready(PATIENCE)

    def start_standby(self) -> None:
        """Starts the standby with a fresh copy, and waits until commits wait for it."""
        self.pair.copy_to_standby()
        self.start(self.pair.standby)
        self.pair.wait_synchronous()

    def fail_over(self) -> None:
        """Kills the primary and promotes the standby."""
        self._children[self.pair.primary].kill()
        self.pair.promote()

    def kill(self, name: str) -> None:
        """Kills a server."""
        self._children[name].kill()

    def stop(self) -> None:
        """Ends both, without their last words."""
        for child in self._children.values():
            child.kill()
        self._leases.close()


@contextmanager
def running_pair(folder: Path) -> Iterator[RunningPair]:
    """A primary and its standby, with an empty cluster."""
    running = RunningPair(PostgresPair(folder, (free_port(), free_port())))
    try:
        running.start(running.pair.primary)
        running.start_standby()
        yield running
    finally:
        running.stop()
