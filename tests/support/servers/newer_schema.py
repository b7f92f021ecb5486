"""What the migrations of a next version may do to a schema, under a process that runs."""

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.postgres import driver_url

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'alembic_version'"
#: Revision of the next version.
REVISION = "9999"


def expand(database_url: str) -> None:
    """Adds what a migration may add: a column to each table, a table, an index, and its revision."""
    engine = create_engine(driver_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        tables = connection.execute(text(TABLES)).scalars().all()
        for table in tables:
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_the_next_version text"))
        connection.execute(text("CREATE TABLE of_the_next_version (id text PRIMARY KEY)"))
        connection.execute(text(f"CREATE INDEX of_the_next_versions ON {tables[0]} (of_the_next_version)"))
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": REVISION})
    engine.dispose()


def revision(database_url: str) -> str:
    """The revision of a schema."""
    engine = create_engine(driver_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    return str(found)
