"""The purger: settles abandoned calls, and deletes rows whose retention has ended, a few at a time."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from common.logs import event
from common.loops import run_every
from common.postgres import Database
from common.sql import Connection
from services.job.application import apply_facts, user_actions
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.facts import CallSettled
from services.job.domain.timeouts import StageTimeouts
from services.job.store import bulk_actions, deletions, idempotency, pauses, retention, settlements, spending

_LOG = logging.getLogger(__name__)

#: Rows of one transaction: few, so that its locks are short.
BATCH = 100
#: Transactions of one kind in one run.
MAX_BATCHES = 50
INTERVAL_SECONDS = 60.0
#: Age of an unfinished deletion that is an alarm: workers are missing, too few, or refused by the object store.
LONGEST_WAIT_SECONDS = 600.0


class Purger:
    """Purges in every replica without a leader: rows that another replica has locked are skipped."""

    def __init__(
        self, database: Database, limits: StageTimeouts, *, retention: timedelta, key_retention: timedelta
    ) -> None:
        self._database = database
        self._limits = limits
        self._retention = retention.total_seconds()
        self._key_retention = key_retention.total_seconds()

    async def run(self, stop: asyncio.Event) -> None:
        """Purges until `stop` is set."""
        await run_every("purger", self.run_once, interval=INTERVAL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Purges once; returns counts of settled calls and of each kind of deleted rows."""
        waits = await self._database.run(deletions.oldest_waits)
        if waits > LONGEST_WAIT_SECONDS:
            event(_LOG, logging.ERROR, "deletions.delayed", seconds=round(waits))
        await self._repeat(lambda c: idempotency.replace_keys(c, limit=BATCH))
        return {
            "calls": await self._repeat(lambda c: settle_abandoned_calls(c, limits=self._limits, limit=BATCH)),
            "jobs": await self._repeat(lambda c: purge_jobs(c, seconds=self._retention, limit=BATCH)),
            "keys": await self._repeat(lambda c: retention.forget_keys(c, seconds=self._key_retention, limit=BATCH)),
            "tombstones": await self._repeat(
                lambda c: retention.forget_tombstones(c, seconds=self._key_retention, limit=BATCH)
            ),
            "pauses": await self._repeat(lambda c: pauses.forget(c, seconds=2 * self._limits.max_queued_seconds)),
            "bulk_actions": await self._repeat(
                # After their keys, which would otherwise name bulk actions that are gone.
                lambda c: bulk_actions.forget(c, seconds=self._key_retention + 86_400, limit=BATCH)
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


def settle_abandoned_calls(connection: Connection, *, limits: StageTimeouts, limit: int) -> int:
    """Settles open calls older than a day as UNKNOWN, as a worker's last poll would; returns their number.

    Their provider may no longer be offered by any generator, and a job with an open call is never purged.
    """
    abandoned = settlements.abandoned_calls(connection, limit=limit)
    facts = [
        CallSettled(job_id=job_id, outcome=CallOutcome(call_id=call_id, phase=CallPhase.UNKNOWN), provider_cancel=None)
        for job_id, call_id in abandoned
    ]
    apply_facts.apply_facts(connection, facts, limits=limits)
    return len(abandoned)


def purge_jobs(connection: Connection, *, seconds: float, limit: int) -> int:
    """Deletes the oldest jobs that have been final for `seconds`, as a user would; returns their number."""
    due = retention.lock_jobs_over_for(connection, seconds=seconds, limit=limit)
    for job_id in due:
        user_actions.erase_job(connection, job_id, reason="retention")
    return len(due)
