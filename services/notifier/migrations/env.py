"""Runs migrations over one connection, one transaction per migration, one runner at a time."""

from alembic import context
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

#: Key of the advisory lock; any constant that all runners share.
MIGRATION_LOCK = 0x0CA10E


def _run() -> None:
    engine = create_engine(context.config.attributes["database_url"], poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        # Named: another schema of the search path may have a table of the same name.
        schema = connection.execute(text("SELECT current_schema()")).scalar_one()
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True, version_table_schema=schema)
        revision = max(context.get_context().get_current_heads(), default="")
        if revision and not inspect(connection).has_table("webhook_endpoints", schema=schema):
            raise CommandError("the schema is that of another service: connect with the role of the notifier")
        # Revisions are numbered in order. Those of a newer version have no files here.
        is_newer = revision > (context.script.get_current_head() or "")
        connection.commit()
        context.config.attributes["is_newer"] = is_newer
        if not is_newer:
            with context.begin_transaction():
                context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()


_run()
