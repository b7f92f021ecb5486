"""The notifier's schema: its own, beside job-service's, for a role that sees nothing else."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from common.database_url import driver_url
from services.notifier.migrations import MIGRATIONS
from tests.support.servers import embedded_servers as servers

ROLE = """
CREATE SCHEMA notifier;
CREATE ROLE calotype_notifier_test LOGIN PASSWORD 'secret';
GRANT USAGE, CREATE ON SCHEMA notifier TO calotype_notifier_test;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER ROLE calotype_notifier_test SET search_path = notifier
"""


@pytest.fixture
def shared(postgres: servers.Server, template: str) -> Iterator[str]:
    """job-service's database, with a schema and a role for the notifier; the role's URL."""
    url = servers.copy_database(postgres.url, template)
    engine = create_engine(driver_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(ROLE))
    role = make_url(url).set(username="calotype_notifier_test", password="secret")
    yield role.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY calotype_notifier_test; DROP ROLE calotype_notifier_test"))
    engine.dispose()
    servers.drop_database(postgres.url, url)


def test_all_tables_are_in_the_roles_own_schema(shared: str) -> None:
    engine = create_engine(driver_url(shared), poolclass=NullPool)
    with engine.begin() as connection:
        assert MIGRATIONS.is_behind(connection)
    for _ in range(2):
        MIGRATIONS.upgrade(shared)
    with engine.begin() as connection:
        assert not MIGRATIONS.is_behind(connection)
        tables = text("SELECT DISTINCT schemaname FROM pg_tables WHERE tableowner = current_user")
        assert list(connection.execute(tables).scalars()) == ["notifier"]
        assert connection.execute(text("SELECT version_num FROM notifier.alembic_version")).scalar_one() == "0003"
    with engine.begin() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("SELECT 1 FROM public.jobs"))
    engine.dispose()


def test_a_schema_is_behind_before_its_newest_migration(database_url: str, shared: str) -> None:
    engine = create_engine(driver_url(database_url), poolclass=NullPool)
    with engine.connect() as connection:
        assert not MIGRATIONS.is_behind(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
        assert MIGRATIONS.is_behind(connection)
    engine.dispose()
