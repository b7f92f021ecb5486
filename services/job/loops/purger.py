"""The purger: gives up what nobody will tell, and deletes what was kept for long enough, a few rows at a time."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import Connection

from common.logs import event
from common.loops import run_every
from common.postgres import Database
from services.job.application import apply_facts, user_actions
from services.job.domain.calls import CallOutcome, Phase
from services.job.domain.facts import CallSettled
from services.job.domain.timeouts import StageTimeouts
from services.job.store import deletions, idempotency, retention, settlements, spending

_LOG = logging.getLogger(__name__)

#: Rows of one transaction: few, so that nobody waits for its locks.
BATCH = 100
#: Transactions of one kind in one run; what is left waits for the next.
MAX_BATCHES = 50
INTERVAL_SECONDS = 60.0
#: A folder that nobody has emptied for so long is an alarm: workers are away, refused by the store, or too few.
LONGEST_WAIT_SECONDS = 600.0


class Purger:
    """Runs in every replica without a leader: rows that another holds are passed by."""

    def __init__(
        self, database: Database, limits: StageTimeouts, *, retention: timedelta, key_retention: timedelta
    ) -> None:
        self._database = database
        self._limits = limits
        self._retention = retention.total_seconds()
        self._key_retention = key_retention.total_seconds()

    async def run(self, stop: asyncio.Event) -> None:
        """Purge until told to stop."""
        await run_every("purger", self.run_once, interval=INTERVAL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Purge what is due; returns counts of calls given up, jobs, keys, tombstones and sums."""
        waits = await self._database.run(deletions.oldest_waits)
        if waits > LONGEST_WAIT_SECONDS:
            event(_LOG, logging.ERROR, "deletions.behind", seconds=round(waits))
        await self._repeat(lambda c: idempotency.replace_keys(c, limit=BATCH))
        return {
            "calls": await self._repeat(lambda c: give_up_calls(c, limits=self._limits, limit=BATCH)),
            "jobs": await self._repeat(lambda c: purge_jobs(c, seconds=self._retention, limit=BATCH)),
            "keys": await self._repeat(lambda c: retention.forget_keys(c, seconds=self._key_retention, limit=BATCH)),
            "tombstones": await self._repeat(
                lambda c: retention.forget_tombstones(c, seconds=self._key_retention, limit=BATCH)
            ),
            "sums": await self._repeat(lambda c: spending.forget(c, limit=BATCH)),
        }

    async def _repeat(self, purge: Callable[[Connection], int]) -> int:
        purged = 0
        for _ in range(MAX_BATCHES):
            found = await self._database.run(purge)
            purged += found
            if found < BATCH:
                break
        return purged


def give_up_calls(connection: Connection, *, limits: StageTimeouts, limit: int) -> int:
    """Settle as unknown what is open for more than its day, as a worker's last look does; how many.

    Its provider may be gone from every generator, and a job with an open call is never purged.
    """
    lost = settlements.abandoned_calls(connection, limit=limit)
    told = [
        CallSettled(job_id=job_id, outcome=CallOutcome(call_id=call_id, phase=Phase.UNKNOWN), provider_cancel=None)
        for job_id, call_id in lost
    ]
    apply_facts.apply_facts(connection, told, limits=limits)
    return len(lost)


def purge_jobs(connection: Connection, *, seconds: float, limit: int) -> int:
    """Delete the oldest jobs that have been final for so long, as a user's deletion does; how many."""
    due = retention.lock_jobs_over_for(connection, seconds=seconds, limit=limit)
    for job_id in due:
        user_actions.erase_job(connection, job_id)
    return len(due)
