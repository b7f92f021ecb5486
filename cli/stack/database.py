"""The services' database in the embedded PostgreSQL: a role that is no superuser, and its schema."""

from dataclasses import dataclass, field

import psycopg2
from psycopg2 import sql

from cli.environment import read
from cli.stack.child import ChildError
from services.job import migrations

#: Name of the role and of the database.
NAME = "calotype"


def prepare(admin_url: str, password: str) -> str:
    """Makes role and database where they are missing, migrates the schema, returns the URL for the services.

    Raises `ChildError`.
    """
    try:
        _make(admin_url, password)
    except psycopg2.Error as error:
        raise ChildError(f"The database could not be prepared: {str(error).strip()}") from error
    url = f"postgresql://{NAME}:{password}@{admin_url.rpartition('@')[2].rpartition('/')[0]}/{NAME}"
    migrations.upgrade(url)
    return url


def _make(admin_url: str, password: str) -> None:
    connection = psycopg2.connect(admin_url, connect_timeout=5)
    # CREATE DATABASE runs outside of transactions.
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (NAME,))
            verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
            role = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
            cursor.execute(role.format(verb, sql.Identifier(NAME), sql.Literal(password)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
            if not cursor.fetchone():
                name = sql.Identifier(NAME)
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    finally:
        connection.close()


@dataclass(frozen=True, kw_only=True)
class _Settings:
    #: URL of the database; empty where none is named.
    database_url: str = field(default="", metadata={"secret": True})


def from_environment() -> str:
    """The URL in `CALOTYPE_DATABASE_URL`, or "". Raises `CommandFailed`."""
    return read(_Settings).database_url
