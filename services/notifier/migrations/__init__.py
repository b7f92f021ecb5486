"""The database schema of notifier-service, as Alembic migrations that only expand it.

All tables, and the version table of Alembic, are in the first schema of the role's search path.
"""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from common.postgres import driver_url
from common.sql import Connection, text


def upgrade(database_url: str) -> None:
    """Migrates the database to the newest schema; safe to run twice and beside a running service."""
    command.upgrade(_config(database_url), "head")


def is_behind(connection: Connection) -> bool:
    """Whether the schema is older than this program needs; a newer schema is compatible."""
    # Named: another schema of the search path may have a table of the same name.
    version_table = connection.execute(
        text("SELECT to_regclass(quote_ident(current_schema()) || '.alembic_version')")
    ).scalar()
    if version_table is None:
        return True
    # Revisions are numbered in order, so that their names can be compared.
    newest = connection.execute(text(f"SELECT max(version_num) FROM {version_table}")).scalar()  # noqa: S608
    return (newest or "") < _newest()


@cache
def _newest() -> str:
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url) if database_url else ""
    return config
