"""Housekeeping: expired leases, held deliveries, redelivered ranges, deletion and retention, a few rows at a time."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from common.loops import run_every
from common.postgres import Database
from common.sql import Connection
from services.notifier.application import attempts
from services.notifier.store import holding, redeliveries, retention

#: Rows of one transaction.
BATCH = 500
#: Transactions of one kind in one run: the next run, which follows at once, begins with expired leases.
MAX_BATCHES = 20
#: Seconds between two runs without a wake-up.
INTERVAL_SECONDS = 5.0
#: Seconds between two runs of retention.
RETENTION_SECONDS = 60.0
#: Rows of one transaction that locks many endpoints, or whose rows take longer.
SMALL_BATCH = 50


class Housekeeping:
    """Works in every replica without a leader: rows that another one has locked are skipped.

    `delivered` is called after deliveries became due.
    """

    def __init__(self, database: Database, *, delivered: Callable[[], object]) -> None:
        self._database = database
        self._delivered = delivered
        self._woken = asyncio.Event()
        self._next_retention = 0.0

    def wake(self) -> None:
        """Signals that an endpoint was disabled or deleted, or that a range is to be redelivered."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set."""
        await run_every("housekeeping", self.run_once, interval=INTERVAL_SECONDS, wake=self._woken, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Does what is due; returns counts of leases, and of deliveries held, failed, redelivered and deleted."""
        counts = {
            "leases": await self._repeat(partial(attempts.abandon_expired, limit=SMALL_BATCH), SMALL_BATCH),
            "held": await self._hold(),
            "failed": await self._repeat(partial(holding.fail_expired, limit=SMALL_BATCH), SMALL_BATCH),
            "redelivered": await self._redeliver(),
            "deleted": await self._repeat(partial(retention.delete_batch, limit=BATCH), 1),
        }
        if counts["leases"] or counts["failed"] or counts["redelivered"]:
            self._delivered()
        if time.monotonic() >= self._next_retention:
            self._next_retention = time.monotonic() + RETENTION_SECONDS
            counts |= await self.forget()
        return counts

    async def forget(self) -> Mapping[str, int]:
        """Deletes what is older than its retention; returns counts of rows."""
        return {
            "deliveries": await self._repeat(partial(retention.forget_deliveries, limit=BATCH), BATCH),
            "requests": await self._repeat(partial(retention.forget_requests, limit=BATCH), BATCH),
            "secrets": await self._repeat(partial(retention.forget_secrets, limit=BATCH), BATCH),
            "origins": await self._repeat(partial(retention.forget_origins, limit=SMALL_BATCH), SMALL_BATCH),
        }

    async def _hold(self) -> int:
        held = 0
        for _ in range(MAX_BATCHES):
            found = await self._database.run(partial(holding.hold, limit=BATCH))
            if found is None:
                break
            held += found
        else:
            self._woken.set()
        return held

    async def _redeliver(self) -> int:
        """Works off one batch of each range after the other, until all are done."""
        redelivered, after, worked_off = 0, None, 0
        for _ in range(MAX_BATCHES):
            found: tuple[UUID, UUID] | None = await self._database.run(partial(redeliveries.next_range, after=after))
            if found is None:
                if not worked_off:
                    break
                after, worked_off = None, 0
                continue
            after, worked_off = found[0], worked_off + 1
            redelivered += await self._database.run(partial(_work_off, found=found))
        else:
            self._woken.set()
        return redelivered

    async def _repeat(self, work: Callable[[Connection], int], full: int) -> int:
        """Runs transactions until one finds fewer rows than a full batch; returns the number of rows."""
        rows = 0
        for _ in range(MAX_BATCHES):
            found = await self._database.run(work)
            rows += found
            if found < full:
                break
        else:
            self._woken.set()
        return rows


def _work_off(connection: Connection, *, found: tuple[UUID, UUID]) -> int:
    return redeliveries.work_off(connection, *found, limit=BATCH)
