"""The stale-job monitor: notes what looks stale, and acts on a later tick, once every fact told by then is folded."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calotype import streams

from common.jetstream import FAILURES, JetStream
from common.logs import event
from common.loops import run_every
from common.postgres import Database, DatabaseUnavailable
from services.job.application import rescuing
from services.job.domain.limits import Limits
from services.job.relay import OutboxRelay

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Noted:
    candidates: Sequence[rescuing.Candidate]
    last_fact: int


class StaleJobMonitor:
    """Rescues jobs that nobody moves; runs in every replica without a leader."""

    def __init__(
        self, database: Database, broker: JetStream, relay: OutboxRelay, limits: Limits, *, interval_seconds: float
    ) -> None:
        self._database = database
        self._broker = broker
        self._relay = relay
        self._limits = limits
        self._interval = interval_seconds
        self._noted: _Noted | None = None
        self._last_tick: float | None = None
        self._quiet_until = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop."""
        await run_every("stale_job_monitor", self.run_once, interval=self._interval, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """One tick; returns counts of what was done."""
        self._mind_the_gap(time.monotonic())
        counts: dict[str, int] = {}
        try:
            floor = await self._broker.ack_floor(streams.FACTS["name"], streams.FACTS_CONSUMER)
            last = await self._broker.last_sequence(streams.FACTS["name"])
            counts = await self._act(floor)
            found = await self._database.run(lambda connection: rescuing.candidates(connection, self._limits))
        except (*FAILURES, DatabaseUnavailable) as error:
            # Nothing is taken from anybody while it is not known what they told.
            event(_LOG, logging.WARNING, "monitor.blind", error=type(error).__name__)
            self._quiet_until = time.monotonic() + self._limits.lease_seconds
            self._noted = None
            return counts
        self._noted = _Noted(candidates=found, last_fact=last) if found else None
        return counts

    async def _act(self, floor: int) -> dict[str, int]:
        noted = self._noted
        if noted is None or floor < noted.last_fact or time.monotonic() < self._quiet_until:
            return {}
        counts = await self._database.run(
            lambda connection: rescuing.rescue(connection, noted.candidates, limits=self._limits)
        )
        if counts:
            event(_LOG, logging.WARNING, "jobs.rescued", **counts)
            self._relay.wake()
        return counts

    def _mind_the_gap(self, now: float) -> None:
        """After a pause of the process, workers first get the time of a lease to renew."""
        if self._last_tick is not None and now - self._last_tick > 2 * self._interval + 1:
            self._quiet_until = now + self._limits.lease_seconds
        self._last_tick = now
