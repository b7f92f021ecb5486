"""The event feed: reads job-service's final events after the stored position, and creates their deliveries.

The feed is the truth. A wake-up only says that reading it now is worthwhile; without any, it is read every few seconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from common.logs import event
from common.loops import pause_until, run_every
from common.postgres import Database
from common.sql import Connection
from common.telemetry import metrics, registry
from services.notifier.domain.events import JobEvent
from services.notifier.ports import FinalEvents, JobService, ResumeTokenRefused
from services.notifier.store import cursor
from services.notifier.store.cursor import Cursor
from services.notifier.store.fan_out import fan_out
from services.notifier.store.pools import Pool

_LOG = logging.getLogger(__name__)
#: Events of a page, and of one transaction.
PAGE = 200
#: Seconds between two reads without a wake-up.
POLL_SECONDS = 5.0
#: Shortest seconds between two reads: wake-ups of this time are answered by one.
COALESCED_SECONDS = 0.05


class EventFeed:
    """Reads the feed in every replica: of two that read the same page, one creates its deliveries.

    `delivered` is called after deliveries were created; `new_key` creates the signing secrets of tenants.
    """

    def __init__(
        self,
        database: Database,
        job_service: JobService,
        *,
        delivered: Callable[[], object],
        new_key: Callable[[], bytes],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._job_service = job_service
        self._delivered = delivered
        self._new_key = new_key
        self._poll_seconds = poll_seconds
        self._woken = asyncio.Event()
        self._next_read = 0.0
        self._ended_at = time.monotonic()
        metrics.read(registry.WEBHOOK_FEED_AGE_SECONDS, lambda: time.monotonic() - self._ended_at)

    def wake(self) -> None:
        """Signals that there may be new events."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set."""

        async def read() -> Mapping[str, int]:
            await pause_until(stop, seconds=max(self._next_read - time.monotonic(), 0.0))
            # Wake-ups from here on are about events that this read may miss.
            self._woken.clear()
            self._next_read = time.monotonic() + COALESCED_SECONDS
            return await self.run_once()

        await run_every("event_feed", read, interval=self._poll_seconds, wake=self._woken, stop=stop)

    async def run_once(self) -> Mapping[str, int]:
        """Reads pages up to the end of the feed; returns counts of events and new deliveries."""
        counts = {"events": 0, "deliveries": 0}
        while True:
            position = await self._database.run(cursor.read, pool=Pool.EVENTS)
            try:
                page = await self._job_service.final_events(
                    resume_token=position.resume_token, since=position.since, limit=PAGE
                )
            except ResumeTokenRefused:
                if position.resume_token is None:
                    raise
                event(_LOG, logging.WARNING, "event_feed.token_refused")
                await self._database.run(partial(_restart, position=position), pool=Pool.EVENTS)
                continue
            if page.events or page.resume_token != position.resume_token:
                work = partial(_store, position=position, page=page, new_key=self._new_key)
                created = await self._database.run(work, pool=Pool.EVENTS)
                if created is None:
                    # Another process stored this page, and woke only its own loops.
                    self._delivered()
                    continue
                counts["events"] += len(page.events)
                counts["deliveries"] += created
                if created:
                    self._delivered()
            if page.is_end:
                self._ended_at = time.monotonic()
                return counts


def _restart(connection: Connection, *, position: Cursor) -> None:
    if cursor.lock(connection) == position:
        cursor.restart(connection)


def _store(connection: Connection, *, position: Cursor, page: FinalEvents, new_key: Callable[[], bytes]) -> int | None:
    """Creates the deliveries of a page and moves the position; returns their number, None if it was moved meanwhile."""
    if cursor.lock(connection) != position:
        return None
    cursor.move(connection, page.resume_token)
    events: Sequence[JobEvent] = page.events
    return fan_out(connection, events, new_key=new_key) if events else 0
