"""The database schema of job-service, as Alembic migrations that only expand it."""

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
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return True
    # Revisions are numbered in order, so that their names can be compared.
    return (connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar() or "") < _newest()


@cache
def _newest() -> str:
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url) if database_url else ""
    return config
