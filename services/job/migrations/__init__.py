"""The database schema of job-service, as Alembic migrations that only ever expand it."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from common.postgres import driver_url


def upgrade(database_url: str) -> None:
    """Bring the database to the newest schema; safe to run twice and beside a running service."""
    command.upgrade(_config(database_url), "head")


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url)
    return config
