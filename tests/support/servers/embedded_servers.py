"""The embedded servers, as tests start them."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from calotype.broker_users import MONITOR, OPERATOR, USERS
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from cli.stack import nats, postgres, storage
from cli.stack.child import Child, Program
from common.database_url import driver_url
from services.job.migrations import MIGRATIONS
from tests.support.patience import PATIENCE
from tests.support.servers.reaper import reaped

BUCKET_LIMIT = 2_000
#: Tokens of the services for the object store, and of the judge that reads all of it after a run.
JUDGE = "judge"
STORAGE_TOKENS = {name: f"token-of-{name}" for name in ("uploader", "generator", JUDGE)}
#: Passwords of the broker's users.
NATS_PASSWORDS = {user.name: f"password-of-{user.name}" for user in (*USERS, MONITOR)}
_NUMBERS, _BUCKETS = itertools.count(1), iter(range(1, BUCKET_LIMIT + 1))


@dataclass(frozen=True)
class Server:
    """A server that runs, and where."""

    child: Child
    url: str


@contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    """PostgreSQL with an empty cluster."""
    postgres.prepare(folder / "data")
    program, url = postgres.program(folder / "data", log=folder / "postgres.log")
    with _running(Child(program), url) as server:
        yield server


@contextmanager
def nats_server(folder: Path) -> Iterator[Server]:
    """Runs NATS with an empty store; the URL is the operator's, who may use every subject."""
    program, url = nats_program(folder / "data", log=folder / "nats.log")
    with _running(Child(program), url) as server:
        yield server


def nats_program(data: Path, *, log: Path, port: int | None = None) -> tuple[Program, str]:
    """NATS with what lies in a folder, for the users of `NATS_PASSWORDS`, and the operator's URL."""
    program, url = nats.program(data, log=log, passwords=NATS_PASSWORDS, port=port)
    return program, nats.as_user(url, OPERATOR.name, NATS_PASSWORDS)


def nats_settings(server: Server, user: str) -> dict[str, str]:
    """Returns the settings of a service that connects to the broker as this user."""
    return {
        "NATS_URL": f"nats://{urlsplit(server.url).netloc.rpartition('@')[2]}",
        "NATS_PASSWORD": NATS_PASSWORDS[user],
    }


@contextmanager
def storage_server(folder: Path) -> Iterator[Server]:
    """Object storage with more buckets than a run needs, all empty; `new_buckets` names the next."""
    numbers = range(1, BUCKET_LIMIT + 1)
    buckets = {f"public-{number}": storage.PUBLIC for number in numbers}
    buckets |= {f"staging-{number}": storage.STAGING for number in numbers}
    with storage_of(folder / "data", log=folder / "storage.log", buckets=buckets) as server:
        yield server


@contextmanager
def storage_of(
    data: Path, *, log: Path, buckets: Mapping[str, storage.Bucket], port: int | None = None
) -> Iterator[Server]:
    """Object storage with what lies in a folder, for the identities of `STORAGE_TOKENS`."""
    program, url = storage.program(data, log=log, tokens=STORAGE_TOKENS, buckets=buckets, port=port)
    with _running(Child(program), url) as server:
        yield server


def new_buckets() -> tuple[str, str]:
    """A public bucket and one for staging that no test has used in this process."""
    number = next(_BUCKETS)
    return f"public-{number}", f"staging-{number}"


@contextmanager
def _running(child: Child, url: str) -> Iterator[Server]:
    child.start()
    with reaped(child.pid):
        try:
            child.wait_ready(PATIENCE)
            yield Server(child, url)
        finally:
            child.stop(PATIENCE)


def make_template(admin_url: str) -> str:
    """A migrated database that others are copied from."""
    _execute(admin_url, "CREATE DATABASE template_calotype")
    MIGRATIONS.upgrade(_with_database(admin_url, "template_calotype"))
    return "template_calotype"


def copy_database(admin_url: str, template: str) -> str:
    """A fresh copy of the template; its URL."""
    name = f"test_{next(_NUMBERS)}"
    # By file: as fast as it gets for a small database, and no checkpoint of the whole cluster.
    _execute(admin_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")
    return _with_database(admin_url, name)


def drop_database(admin_url: str, url: str) -> None:
    """Drops a copy, even while it has connections."""
    _execute(admin_url, f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


def _with_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


def _execute(url: str, statement: str) -> None:
    engine = create_engine(driver_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
