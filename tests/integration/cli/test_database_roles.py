"""Each service's role reaches its own schema of the stack's database, and nothing else in it."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors, sql

from cli.doctor.database import schema
from cli.doctor.findings import Level
from cli.stack import database
from tests.support.servers.embedded_servers import Server

PASSWORDS = {"job": "of job-service", "notifier": "of the notifier"}
TABLES = {"job": ("public", "jobs"), "notifier": (database.SCHEMA, "webhook_endpoints")}
OTHERS = {"job": "notifier", "notifier": "job"}


@pytest.fixture(scope="module")
def urls(postgres: Server) -> Iterator[Mapping[str, str]]:
    """The database as `calotype up` makes it, twice: at its second start everything is there."""
    passwords = {service: password.replace(" ", "-") for service, password in PASSWORDS.items()}
    database.prepare(postgres.url, passwords)
    yield database.prepare(postgres.url, passwords)
    with closing(psycopg2.connect(postgres.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {database.NAME} WITH (FORCE)")
            for role in database.ROLES.values():
                cursor.execute(f"DROP ROLE {role}")


def run(url: str, statement: str, *names: str) -> list[tuple[object, ...]]:
    """Run a statement as a role, and undo it; its rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("service", TABLES)
def test_a_role_reads_and_writes_its_own_tables_without_naming_their_schema(
    urls: Mapping[str, str], service: str
) -> None:
    own_schema, table = TABLES[service]

    assert run(urls[service], "SELECT count(*) FROM {}", table) == [(0,)]
    assert run(urls[service], "DELETE FROM {}", table) == []
    assert run(urls[service], "SELECT current_schema()") == [(own_schema,)]
    assert run(urls[service], "CREATE TABLE is_allowed (number integer)") == []


@pytest.mark.parametrize("service", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {}.{}",
        "INSERT INTO {}.{} DEFAULT VALUES",
        "DELETE FROM {}.{}",
        "TRUNCATE {}.{}",
        "LOCK TABLE {}.{} IN ACCESS SHARE MODE",
        "CREATE VIEW mine AS SELECT * FROM {}.{}",
        "ALTER TABLE {}.{} ADD COLUMN mine integer",
        "DROP TABLE {}.{} CASCADE",
        "CREATE TABLE {}.mine_{} (number integer)",
    ],
)
def test_a_role_reaches_nothing_of_the_others_schema(urls: Mapping[str, str], service: str, statement: str) -> None:
    its_schema, table = TABLES[OTHERS[service]]
    written = statement.replace("mine_{}", "mine")

    with pytest.raises(errors.InsufficientPrivilege):
        run(urls[service], written, *((its_schema,) if written != statement else (its_schema, table)))


@pytest.mark.parametrize("service", TABLES)
def test_a_role_can_become_no_other_and_owns_no_other(urls: Mapping[str, str], service: str) -> None:
    other = database.ROLES[OTHERS[service]]
    for statement in ("SET ROLE {}", "CREATE ROLE {0}_2", "ALTER ROLE {} SUPERUSER", "GRANT {} TO CURRENT_USER"):
        with pytest.raises(errors.InsufficientPrivilege):
            run(urls[service], statement.replace("{0}_2", "{}"), other if "_2" not in statement else f"{other}_2")

    assert run(
        urls[service], "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    ) == [(False, False, False)]


def test_doctor_says_whether_a_schema_is_the_newest(urls: Mapping[str, str], postgres: Server) -> None:
    findings = {
        "newest": [schema(service, url) for service, url in urls.items()],
        "none": [schema(service, postgres.url) for service in urls],
        "away": [schema(service, "postgresql://nobody@127.0.0.1:1/none") for service in urls],
    }

    assert {name: {found.level for found in found_here} for name, found_here in findings.items()} == {
        "newest": {Level.OK},
        "none": {Level.FAIL},
        "away": {Level.FAIL},
    }
    assert [found.advice for found in findings["none"]] == [f"calotype migrate --service {name}" for name in urls]
