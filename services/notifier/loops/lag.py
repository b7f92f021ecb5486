"""Delay and backlog of deliveries, read by one loop of each replica and never by a scrape."""

import asyncio
from collections.abc import Mapping

from common.loops import run_every
from common.postgres import Database
from common.telemetry import metrics, registry
from services.notifier.store import backlog, readiness

#: Seconds between two readings.
INTERVAL_SECONDS = 5.0


class DeliveryLag:
    """Reads for how long endpoints have been ready, and counts; every replica exports the same values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set."""
        await run_every("delivery_lag", self.run_once, interval=INTERVAL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int] | None:
        """Reads once. Raises `DatabaseUnavailable`."""
        for share, seconds in (await self._database.run(readiness.oldest_ready)).items():
            metrics.set_gauge(registry.WEBHOOK_OLDEST_DUE_SECONDS, seconds, share.value)
        found = await self._database.run(backlog.read)
        for state, deliveries in found.deliveries.items():
            metrics.set_gauge(registry.WEBHOOK_DELIVERIES, deliveries, state)
        for reason, endpoints in found.unhealthy.items():
            metrics.set_gauge(registry.WEBHOOK_UNHEALTHY_ENDPOINTS, endpoints, reason)
        return None
