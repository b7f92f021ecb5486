"""The database schema of job-service, as Alembic migrations that only expand it."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from common.database_url import driver_url
from common.sql import Connection, text

# Imported by `upgrade` only: Alembic takes 8 MB of a service, which migrates nothing.
if TYPE_CHECKING:
    from alembic.config import Config


def upgrade(database_url: str) -> bool:
    """Migrates the database to the newest schema; safe to run twice and beside a running service.

    Returns False, and changes nothing, if the schema is that of a newer version, which is compatible.
    """
    from alembic import command

    config = _config(database_url)
    command.upgrade(config, "head")
    return not config.attributes["is_newer"]


def is_behind(connection: Connection) -> bool:
    """Whether the schema is older than this program needs; a newer schema is compatible."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return True
    # Revisions are numbered in order, so that their names can be compared.
    return (connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar() or "") < newest_revision()


@cache
def newest_revision() -> str:
    """Returns the newest revision; each file begins with its own."""
    return max(file.name.partition("_")[0] for file in (Path(__file__).parent / "versions").glob("[0-9]*_*.py"))


def _config(database_url: str) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["database_url"] = driver_url(database_url)
    return config
