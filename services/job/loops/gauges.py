"""Gauges of what only the database and the broker know; read by one loop of each replica, never by a scrape."""

import asyncio
from collections.abc import Mapping

from calotype import streams

from common.jetstream import FAILURES, JetStream
from common.loops import run_every
from common.postgres import Database
from common.sql import Connection
from common.telemetry import metrics, registry
from services.job.domain.circuit_breakers import Breaker, Route
from services.job.store import ages, breakers

#: Seconds between two readings.
INTERVAL = 5.0


class SharedGauges:
    """Reads ages, breakers and the facts' backlog; every replica exports the same values."""

    def __init__(self, database: Database, broker: JetStream) -> None:
        self._database = database
        self._broker = broker
        # Routes whose breaker this process has seen.
        self._seen: set[Route] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set."""
        await run_every("shared_gauges", self.run_once, interval=INTERVAL, stop=stop)

    async def run_once(self) -> Mapping[str, int] | None:
        """Reads once. Raises `DatabaseUnavailable`; a broker that is away leaves its gauge as it was."""
        due, in_stage, found = await self._database.run(_read)
        for work, seconds in due.items():
            metrics.set_gauge(registry.OLDEST_DUE_SECONDS, seconds, work)
        for stage, seconds in in_stage.items():
            metrics.set_gauge(registry.OLDEST_IN_STAGE_SECONDS, seconds, stage)
        self._seen |= set(found)
        for route in self._seen:
            is_open = route in found and found[route].opened_at is not None
            metrics.set_gauge(registry.BREAKER_OPEN, float(is_open), route.provider, route.model)
        try:
            floor = await self._broker.ack_floor(streams.FACTS["name"], streams.FACTS_CONSUMER)
            _, last = await self._broker.sequences(streams.FACTS["name"])
        except FAILURES:
            return None
        metrics.set_gauge(registry.FACTS_PENDING, max(last - floor, 0))
        return None


def _read(connection: Connection) -> tuple[dict[str, float], dict[str, float], dict[Route, Breaker]]:
    return ages.oldest_due(connection), ages.oldest_in_stage(connection), breakers.all_breakers(connection)
