"""The database schema of a service, as Alembic migrations that only expand it."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from common.database_url import driver_url
from common.sql import Connection, text

# Imported by `upgrade` only: Alembic takes 8 MB of a service, which migrates nothing.
if TYPE_CHECKING:
    from alembic.config import Config


class Migrations:
    """The migrations of one service. Their files begin with their revision; revisions are numbered in order."""

    def __init__(self, folder: Path, *, lock: int, table: str, owner: str, in_first_schema: bool) -> None:
        self._folder = folder
        #: Key of the advisory lock; any constant that all runners of these migrations share.
        self.lock = lock
        #: A table that only this service's schema has.
        self.table = table
        #: Whose role connects, for people.
        self.owner = owner
        #: Whether all tables, and Alembic's, are in the first schema of the search path. Then that is named, as another
        #: schema of the path may have a table of the same name.
        self.in_first_schema = in_first_schema

    def upgrade(self, database_url: str) -> bool:
        """Migrates the database to the newest schema; safe to run twice and beside a running service.

        Returns False, and changes nothing, if the schema is that of a newer version, which is compatible. Raises
        `alembic.util.CommandError` for the schema of another service.
        """
        from alembic import command

        config = self._config(database_url)
        command.upgrade(config, "head")
        return not config.attributes["is_newer"]

    def is_behind(self, connection: Connection) -> bool:
        """Whether the schema is older than this program needs; a newer schema is compatible."""
        name = "quote_ident(current_schema()) || '.alembic_version'" if self.in_first_schema else "'alembic_version'"
        version_table = connection.execute(text(f"SELECT to_regclass({name})")).scalar()
        if version_table is None:
            return True
        newest = connection.execute(text(f"SELECT max(version_num) FROM {version_table}")).scalar()  # noqa: S608
        return (newest or "") < self.newest_revision

    @cached_property
    def newest_revision(self) -> str:
        """The newest revision that this program knows."""
        return max(file.name.partition("_")[0] for file in self._folder.glob("[0-9]*_*.py"))

    def _config(self, database_url: str) -> "Config":
        from alembic.config import Config

        config = Config()
        # As folders may have spaces and colons in their names.
        config.set_main_option("path_separator", "newline")
        for option, folder in (("script_location", Path(__file__).parent), ("version_locations", self._folder)):
            config.set_main_option(option, str(folder).replace("%", "%%"))
        config.attributes.update(database_url=driver_url(database_url), migrations=self)
        return config
