"""The stale-job monitor: notes stale jobs, and acts on them in a later run, when all facts of that time are applied."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from calotype import streams

from common.jetstream import FAILURES, JetStream
from common.logs import event
from common.loops import run_every
from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection
from common.telemetry import registry
from common.tracing import Attributes, fail, span
from services.job.application import stale_jobs
from services.job.domain.clocks import ClockWatch
from services.job.domain.timeouts import StageTimeouts
from services.job.domain.transitions import Change
from services.job.loops.outbox_relay import OutboxRelay
from services.job.store import jobs

_LOG = logging.getLogger(__name__)
#: Durations of a lease for which the monitor waits for facts. A fact whose job is locked may take longer; as the ledger
#: accepts it however late, acting without it loses nothing.
MAX_LEASES_WAITED = 10


@dataclass(frozen=True, kw_only=True)
class _Noted:
    """Candidates of one run."""

    #: Jobs that looked stale.
    candidates: Sequence[stale_jobs.Candidate]
    #: Sequence of the last fact in the stream at that time.
    last_fact: int
    #: Time of the run by the process's clock, in seconds.
    at: float


class StaleJobMonitor:
    """Rescues jobs that nothing moves any more; runs in every replica without a leader."""

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
        # A lease is renewed every third of its duration: a smaller step of the clock expires none.
        self._clocks = ClockWatch(tolerance=limits.lease_seconds / 3, window=limits.lease_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set."""
        await run_every("stale_job_monitor", self.run_once, interval=self._interval, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Acts on noted jobs and notes new ones, again while full pages are acted on; returns counts by transition."""
        counts: Counter[str] = Counter()
        while acted := await self._tick():
            counts.update(acted)
            if self._noted is None or len(self._noted.candidates) < self._page:
                break
        return counts

    async def _tick(self) -> dict[str, int]:
        self._check_for_pause(self._clock())
        counts: dict[str, int] = {}
        try:
            floor = await self._broker.ack_floor(streams.FACTS["name"], streams.FACTS_CONSUMER)
            first, last = await self._broker.sequences(streams.FACTS["name"])
            if first <= floor <= last:
                # A broker that could not write keeps acknowledged facts until they are deleted. A stream that ends
                # before the acknowledged sequence is another one, which was created meanwhile.
                await self._broker.delete_up_to(streams.FACTS["name"], floor)
                event(_LOG, logging.INFO, "facts.cleared", up_to=floor)
            if self._is_waiting_for_facts(floor, last):
                return counts
            counts = await self._act()
            found = await self._database.run(self._find)
            # Read after the candidates: a candidate's worker may have sent a fact before that.
            _, last = await self._broker.sequences(streams.FACTS["name"])
        except (*FAILURES, DatabaseUnavailable) as error:
            # No lease is taken while the monitor cannot know which facts were sent.
            dependency = "database" if isinstance(error, DatabaseUnavailable) else "broker"
            event(_LOG, logging.WARNING, "monitor.paused", dependency=dependency, reason=type(error).__name__)
            self._quiet_until = self._clock() + self._limits.lease_seconds
            self._noted = None
            return counts
        self._noted = _Noted(candidates=found, last_fact=last, at=self._clock()) if found else None
        return counts

    def _is_waiting_for_facts(self, floor: int, last: int) -> bool:
        """Whether facts that were in the stream when the candidates were noted are not all applied yet.

        The candidates are kept meanwhile: new ones in each run would wait forever while facts keep coming. A stream
        that was created anew is not waited for.
        """
        noted = self._noted
        if noted is None or self._clock() - noted.at > MAX_LEASES_WAITED * self._limits.lease_seconds:
            return False
        return floor < noted.last_fact <= last

    async def _act(self) -> dict[str, int]:
        noted = self._noted
        if noted is None or self._clock() < self._quiet_until:
            return {}
        changes = await self._database.run(partial(self._rescue, noted=noted))
        counts = dict(Counter(str(change.transition) for change in changes))
        for change in changes:
            _note_rescue(change)
        if counts:
            event(_LOG, logging.WARNING, "jobs.rescued", **counts)
            self._relay.wake()
        return counts

    def _find(self, connection: Connection) -> Sequence[stale_jobs.Candidate]:
        self._has_clock_stepped(connection)
        return stale_jobs.candidates(connection, self._limits, limit=self._page)

    def _rescue(self, connection: Connection, *, noted: _Noted) -> Sequence[Change]:
        # In the transaction that judges by this clock: it may have been set since the last run.
        if self._has_clock_stepped(connection):
            return []
        return stale_jobs.rescue(connection, noted.candidates, limits=self._limits)

    def _has_clock_stepped(self, connection: Connection) -> bool:
        """Whether the database's clock stepped; then nothing is rescued until every lease has been renewed."""
        queried_at = self._clock()
        now = jobs.clock(connection)
        if not self._clocks.has_stepped(now, queried_at=queried_at, received_at=self._clock()):
            return False
        event(_LOG, logging.WARNING, "monitor.clock_stepped", quiet_seconds=self._limits.lease_seconds)
        self._quiet_until = self._clock() + self._limits.lease_seconds
        return True

    def _check_for_pause(self, now: float) -> None:
        """Gives workers the duration of a lease to renew, at the start and after a pause of this process."""
        if self._last_tick is None or now - self._last_tick > 2 * self._interval + 1:
            self._quiet_until = now + self._limits.lease_seconds
        self._last_tick = now


def _note_rescue(change: Change) -> None:
    """Notes in the trace of a job that the monitor has moved it."""
    job = change.before
    attributes: Attributes = {
        registry.JOB_ID: job.id,
        registry.TRANSITION: change.transition,
        registry.CLAIM_NUMBER: job.claim_number,
    }
    with span(registry.RESCUE, attributes, parent=job.traceparent):
        if (failure := change.after.failure) is not None:
            fail(failure.reason, stage=failure.stage.upper())
