"""The database in the embedded PostgreSQL: a role and a schema for each service that stores something.

job-service's role owns the database, and has its tables in the schema `public`; the notifier's role owns the schema
`notifier`. Neither can read the other's tables, and neither is a superuser.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

import psycopg2
from psycopg2 import sql

from cli.environment import read
from cli.stack.child import ChildError
from services.job.migrations import MIGRATIONS as JOB_MIGRATIONS
from services.notifier.migrations import MIGRATIONS as NOTIFIER_MIGRATIONS

#: Name of the database.
NAME = "calotype"
#: Roles by service.
ROLES: Mapping[str, str] = {"job": NAME, "notifier": "calotype_notifier"}
#: Schema of the notifier.
SCHEMA = "notifier"
#: Migrates a database, given by its URL, by service.
UPGRADES = {"job": JOB_MIGRATIONS.upgrade, "notifier": NOTIFIER_MIGRATIONS.upgrade}
# Without the first two, every role may connect, and look up names in job-service's schema.
OWN_SCHEMAS = (
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {notifier}",
    "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {notifier}",
    "ALTER ROLE {notifier} IN DATABASE {database} SET search_path = {schema}",
)


def prepare(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Makes roles, database and schemas where they are missing, and migrates them; returns the URLs by service.

    `passwords` are the roles', by service. Raises `ChildError`.
    """
    urls = make_roles(admin_url, passwords)
    for service, upgrade in UPGRADES.items():
        upgrade(urls[service])
    return urls


def make_roles(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Makes roles, database and empty schemas where they are missing; returns the URLs by service.

    `passwords` are the roles', by service. Raises `ChildError`.
    """
    address = admin_url.rpartition("@")[2].rpartition("/")[0]
    try:
        _make_database(admin_url, passwords)
        _make_schemas(f"{admin_url.rpartition('/')[0]}/{NAME}")
    except psycopg2.Error as error:
        raise ChildError(f"The database could not be prepared: {str(error).strip()}") from error
    return {service: f"postgresql://{role}:{passwords[service]}@{address}/{NAME}" for service, role in ROLES.items()}


def _make_database(admin_url: str, passwords: Mapping[str, str]) -> None:
    with closing(psycopg2.connect(admin_url, connect_timeout=5)) as connection:
        # CREATE DATABASE runs outside of transactions.
        connection.autocommit = True
        with connection.cursor() as cursor:
            for service, name in ROLES.items():
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
                role = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
                cursor.execute(role.format(verb, sql.Identifier(name), sql.Literal(passwords[service])))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
            if not cursor.fetchone():
                names = (sql.Identifier(NAME), sql.Identifier(ROLES["job"]))
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))


def _make_schemas(admin_url: str) -> None:
    names = {"database": NAME, "notifier": ROLES["notifier"], "schema": SCHEMA}
    quoted = {name: sql.Identifier(value) for name, value in names.items()}
    with (
        closing(psycopg2.connect(admin_url, connect_timeout=5)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for statement in OWN_SCHEMAS:
            cursor.execute(sql.SQL(statement).format(**quoted))


@dataclass(frozen=True, kw_only=True)
class _Settings:
    #: URL of the database; empty where none is named.
    database_url: str = field(default="", metadata={"secret": True})


def from_environment() -> str:
    """The URL in `CALOTYPE_DATABASE_URL`, or "". Raises `CommandFailed`."""
    return read(_Settings).database_url
