"""The database schema of job-service, as Alembic migrations that only ever expand it."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from common.postgres import driver_url


def upgrade(database_url: str) -> None:
    """Bring the database to the newest schema; safe to run twice and beside a running service."""
    command.upgrade(_config(database_url), "head")


def is_behind(connection: Connection) -> bool:
    """Whether the database lacks what this program needs; what a newer one has added does no harm."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return True
    # Revisions are numbered in their order.
    return (connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar() or "") < _newest()


@cache
def _newest() -> str:
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url) if database_url else ""
    return config
