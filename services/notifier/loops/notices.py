"""The notices loop: turns changes of an endpoint's health into deliveries to the tenant's other endpoints."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from common.loops import run_every
from common.postgres import Database
from services.notifier.store import notices

#: Notices of one transaction.
BATCH = 100
#: Seconds between two runs without a wake-up.
INTERVAL_SECONDS = 5.0


class Notices:
    """Works in every replica: notices that another one has locked are skipped.

    `delivered` is called after deliveries were created.
    """

    def __init__(self, database: Database, *, delivered: Callable[[], object]) -> None:
        self._database = database
        self._delivered = delivered
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Signals that a notice was created."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        await run_every("notices", self.run_once, interval=INTERVAL_SECONDS, wake=self._woken, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Turns all notices into deliveries; returns the counts of both."""
        counts = {"notices": 0, "deliveries": 0}
        while True:
            taken, created = await self._database.run(partial(notices.fan_out, limit=BATCH))
            counts["notices"] += taken
            counts["deliveries"] += created
            if created:
                self._delivered()
            if taken < BATCH:
                return counts
