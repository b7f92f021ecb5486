"""Checks a database: whether it keeps what it commits, whether its clock is right, and whether schemas are current."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import psycopg2
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from cli.doctor.findings import Finding, fail, ok, warn
from common.postgres import open_pool
from common.sql import transaction
from services.job.migrations import MIGRATIONS as JOB_MIGRATIONS
from services.notifier.migrations import MIGRATIONS as NOTIFIER_MIGRATIONS

SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
#: Advice on a database that cannot be reached.
START = "start it, or check its URL (CALOTYPE_DATABASE_URL)"
#: Largest difference of the clocks. Leases and deadlines follow the database's; people compare them with their own.
SKEW = timedelta(seconds=2)
#: Tell whether a schema is older than this program, by service.
IS_BEHIND = {"job": JOB_MIGRATIONS.is_behind, "notifier": NOTIFIER_MIGRATIONS.is_behind}


def examine(url: str) -> Iterator[Finding]:
    """Yields all findings about the database."""
    try:
        settings, skew = _query(url)
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines()[0]
        yield fail(f"the database cannot be reached: {reason}", START)
        return
    yield from durability(settings)
    yield clock(skew)


def durability(settings: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a committed job can be lost; `settings` are those of `SETTINGS`."""
    for name in ("fsync", "full_page_writes"):
        if settings[name] != "on":
            yield fail(f"{name} is {settings[name]}: a crash of the machine loses or damages data", f"set {name} = on")
    if settings["synchronous_commit"] in ("off", "local"):
        yield fail(
            f"synchronous_commit is {settings['synchronous_commit']}: a crash or failover loses accepted jobs",
            "set synchronous_commit = on",
        )
    else:
        yield ok(
            f"the database confirms a commit when it is on disk (synchronous_commit {settings['synchronous_commit']})"
        )
    if settings["synchronous_standby_names"]:
        yield ok("a synchronous standby keeps every commit")
    else:
        yield warn(
            "no synchronous standby: losing the database's disk loses jobs",
            "this is fine on one machine; in production set synchronous_standby_names",
        )


def clock(skew: timedelta) -> Finding:
    """Whether database and machine agree on the time; `skew` is how far the database is ahead."""
    seconds = skew.total_seconds()
    if abs(skew) <= SKEW:
        return ok(f"the database's clock differs by {abs(seconds):.1f} s")
    return warn(f"the database's clock differs by {seconds:+.1f} s", "let both follow the same time server (NTP)")


def schema(service: str, url: str) -> Finding:
    """Whether the schema of a service is as new as this program; `url` is with the service's role."""
    engine = open_pool(url, poolclass=NullPool, connect_args={"connect_timeout": 3})
    try:
        with transaction(engine) as connection:
            is_behind = IS_BEHIND[service](connection)
    except SQLAlchemyError:
        return fail(
            f"the schema of {service} cannot be read with its role", "use the URL of its role, or restart the stack"
        )
    finally:
        engine.dispose()
    if is_behind:
        return fail(f"the schema of {service} is older than this program", f"calotype migrate --service {service}")
    return ok(f"the schema of {service} has what this version needs")


def _query(url: str) -> tuple[dict[str, str], timedelta]:
    """Settings of the database, and how far its clock is ahead. Raises `psycopg2.Error`."""
    connection = psycopg2.connect(url, connect_timeout=3)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(SETTINGS),))
            settings = dict(cursor.fetchall())
            cursor.execute("SELECT clock_timestamp()")
            row = cursor.fetchone()
        assert row is not None
        skew: timedelta = row[0] - datetime.now(UTC)
        return settings, skew
    finally:
        connection.close()
