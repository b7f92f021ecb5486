"""Follows whether the database is available, and its schema new enough."""

import asyncio

from common.health import Readiness
from common.loops import run_every
from common.postgres import Database, DatabaseUnavailable
from services.notifier.migrations import MIGRATIONS

#: Seconds between two checks.
INTERVAL_SECONDS = 1.0


class DatabaseWatch:
    """Sets the conditions `database` and `schema` of the process's readiness."""

    def __init__(self, database: Database, ready: Readiness) -> None:
        self._database = database
        self._ready = ready

    async def run(self, stop: asyncio.Event) -> None:
        """Checks until `stop` is set."""
        await run_every("database_watch", self.run_once, interval=INTERVAL_SECONDS, stop=stop)

    async def run_once(self) -> None:
        """Checks once."""
        try:
            is_behind = await self._database.run(MIGRATIONS.is_behind)
        except DatabaseUnavailable as error:
            self._ready.set("database", False, str(error))
            return
        self._ready.set("database", True)
        advice = "The schema is older than this program: run calotype migrate --service notifier."
        self._ready.set("schema", not is_behind, advice)
