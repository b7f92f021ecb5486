"""The stale-job monitor: notes what looks stale, and acts on a later tick, once every fact told by then is folded."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from calotype import streams
from sqlalchemy import Connection

from common.jetstream import FAILURES, JetStream
from common.logs import event
from common.loops import run_every
from common.postgres import Database, DatabaseUnavailable
from services.job.application import stale_jobs
from services.job.domain.clocks import ClockWatch
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store import jobs

_LOG = logging.getLogger(__name__)
#: Leases for which facts that were told are waited for. One whose job somebody holds a lock on may stand in the way for
#: longer; what it says is kept in the ledger however late, so that acting without it loses nothing.
MAX_LEASES_WAITED = 10


@dataclass(frozen=True, kw_only=True)
class _Noted:
    candidates: Sequence[stale_jobs.Candidate]
    last_fact: int
    at: float


class StaleJobMonitor:
    """Rescues jobs that nobody moves; runs in every replica without a leader."""

    def __init__(
        self,
        database: Database,
        broker: JetStream,
        relay: OutboxRelay,
        limits: StageTimeouts,
        *,
        interval_seconds: float,
        page: int = stale_jobs.PAGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._broker = broker
        self._relay = relay
        self._limits = limits
        self._interval = interval_seconds
        self._page = page
        self._clock = clock
        self._noted: _Noted | None = None
        self._last_tick: float | None = None
        self._quiet_until = 0.0
        # A lease is renewed each third of it: a smaller step takes nothing from anybody.
        self._clocks = ClockWatch(tolerance=limits.lease_seconds / 3, window=limits.lease_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop."""
        await run_every("stale_job_monitor", self.run_once, interval=self._interval, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Tick once, and again for as long as it helps and more is waiting; returns counts of what was done."""
        counts: Counter[str] = Counter()
        while acted := await self._tick():
            counts.update(acted)
            if self._noted is None or len(self._noted.candidates) < self._page:
                break
        return counts

    async def _tick(self) -> dict[str, int]:
        self._mind_the_gap(self._clock())
        counts: dict[str, int] = {}
        try:
            floor = await self._broker.ack_floor(streams.FACTS["name"], streams.FACTS_CONSUMER)
            first, last = await self._broker.sequences(streams.FACTS["name"])
            if first <= floor <= last:
                # A broker that could not write keeps what was acknowledged, until somebody takes it away. A stream that
                # ends before the floor is another one, begun anew meanwhile.
                await self._broker.delete_up_to(streams.FACTS["name"], floor)
                event(_LOG, logging.INFO, "facts.cleared", up_to=floor)
            if self._is_waiting_for_facts(floor, last):
                return counts
            counts = await self._act()
            found = await self._database.run(self._look)
            # Read after the candidates: whoever was one may have told before that.
            _, last = await self._broker.sequences(streams.FACTS["name"])
        except (*FAILURES, DatabaseUnavailable) as error:
            # Nothing is taken from anybody while it is not known what they told.
            event(_LOG, logging.WARNING, "monitor.blind", error=type(error).__name__)
            self._quiet_until = self._clock() + self._limits.lease_seconds
            self._noted = None
            return counts
        self._noted = _Noted(candidates=found, last_fact=last, at=self._clock()) if found else None
        return counts

    def _is_waiting_for_facts(self, floor: int, last: int) -> bool:
        """Whether what was told by the noting tick is not all folded; a stream that begins anew is not waited for.

        The note is kept meanwhile: one made anew at each tick would never be reached while facts keep coming.
        """
        noted = self._noted
        if noted is None or self._clock() - noted.at > MAX_LEASES_WAITED * self._limits.lease_seconds:
            return False
        return floor < noted.last_fact <= last

    async def _act(self) -> dict[str, int]:
        noted = self._noted
        if noted is None or self._clock() < self._quiet_until:
            return {}
        counts = await self._database.run(partial(self._rescue, noted=noted))
        if counts:
            event(_LOG, logging.WARNING, "jobs.rescued", **counts)
            self._relay.wake()
        return counts

    def _look(self, connection: Connection) -> Sequence[stale_jobs.Candidate]:
        self._mind_the_clock(connection)
        return stale_jobs.candidates(connection, self._limits, limit=self._page)

    def _rescue(self, connection: Connection, *, noted: _Noted) -> dict[str, int]:
        # In the transaction that judges by this clock: between two ticks it may have been set.
        if self._mind_the_clock(connection):
            return {}
        return stale_jobs.rescue(connection, noted.candidates, limits=self._limits)

    def _mind_the_clock(self, connection: Connection) -> bool:
        """After a step of the database's clock every lease looks older or younger than it is, until it is renewed."""
        asked_at = self._clock()
        told = jobs.clock(connection)
        if not self._clocks.has_stepped(told, asked_at=asked_at, answered_at=self._clock()):
            return False
        event(_LOG, logging.WARNING, "monitor.clock_stepped", quiet_seconds=self._limits.lease_seconds)
        self._quiet_until = self._clock() + self._limits.lease_seconds
        return True

    def _mind_the_gap(self, now: float) -> None:
        """At the start, and after a pause of the process, workers first get the time of a lease to renew."""
        if self._last_tick is None or now - self._last_tick > 2 * self._interval + 1:
            self._quiet_until = now + self._limits.lease_seconds
        self._last_tick = now
