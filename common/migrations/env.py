"""Run by Alembic: migrations over one connection, one transaction per migration, one runner at a time."""

from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from common.migrations import Migrations


def _run(migrations: Migrations) -> None:
    engine = create_engine(context.config.attributes["database_url"], poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": migrations.lock})
        schema = connection.execute(text("SELECT current_schema()")).scalar() if migrations.in_first_schema else None
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True, version_table_schema=schema)
        revision = max(context.get_context().get_current_heads(), default="")
        if revision and not inspect(connection).has_table(migrations.table, schema=schema):
            raise CommandError(f"the schema is that of another service: connect with the role of {migrations.owner}")
        # Those of a newer version have no files here.
        is_newer = revision > (context.script.get_current_head() or "")
        connection.commit()
        context.config.attributes["is_newer"] = is_newer
        if not is_newer:
            with context.begin_transaction():
                context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": migrations.lock})
        connection.commit()


_run(context.config.attributes["migrations"])
