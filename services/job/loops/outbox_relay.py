"""The outbox relay: publishes events and wake-ups of committed transactions, in each job's order, until confirmed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import groupby
from uuid import UUID

from calotype import streams
from calotype.event.v1 import event_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from common.jetstream import BrokerUnavailable, JetStream
from common.logs import event
from common.loops import pause_until, run_every
from common.messaging_spans import sending
from common.postgres import Database, DatabaseUnavailable
from common.sql import Connection
from common.telemetry import registry
from services.job.loops.wake_up_publisher import WakeUpPublisher, event_headers
from services.job.store import outbox
from services.job.store.committed_changes import CommittedChange
from services.job.store.outbox import Due

_LOG = logging.getLogger(__name__)
#: Subject of events with placeholders, for the names of spans.
_TEMPLATE = streams.event_subject(tenant="<tenant>", job_id="<job>")
#: Jobs that are held at a time.
BATCH = 256
#: Seconds for which they are held; then another relay may publish a crashed one's rows.
HELD_SECONDS = 5.0
#: Seconds between renewals of the holds while publishing takes longer.
RENEWAL_SECONDS = HELD_SECONDS / 3
#: Least seconds between the beginnings of two runs, so that one publishes what many transactions wrote under load.
SPACING_SECONDS = 0.02
#: Seconds from a commit to the run that publishes its events, at least: those who are in a hurry, workers and watchers
#: of this process, are told at the commit, and the run must not compete with them.
GATHERING_SECONDS = 0.01
#: Seconds between two log lines about messages that the broker does not confirm.
LOG_SECONDS = 10.0


class OutboxRelay:
    """Publishes outbox rows; woken in-process after each commit, and by a slow poll."""

    def __init__(self, database: Database, broker: JetStream, *, renewal_seconds: float = RENEWAL_SECONDS) -> None:
        self._database = database
        self._broker = broker
        self._wake_ups = WakeUpPublisher(broker)
        self._renewal_seconds = renewal_seconds
        # Job id after which the next claim continues, so that every job has its turn; "" for the first job.
        self._last_job = ""
        self._woken = asyncio.Event()
        # Earliest time of the next run, by the monotonic clock.
        self._earliest_run = 0.0
        # Why the broker did not confirm a message last.
        self._refusal = ""
        self._logged_at: float | None = None

    def wake(self) -> None:
        """Signals that a transaction was committed."""
        self._woken.set()

    def on_commit(self, changes: Sequence[CommittedChange]) -> None:
        """Publishes the wake-ups of committed changes at once, and their events soon."""
        self._wake_ups.on_commit(changes)
        self.wake()

    async def wake_generators(self) -> None:
        """Wakes generators after a slot was freed. A lost wake-up delays jobs until the next poll."""
        await self._wake_ups.wake_generators()

    async def run(self, stop: asyncio.Event) -> None:
        """Publishes until `stop` is set."""
        await run_every("outbox_relay", self._run_spaced, interval=0.5, wake=self._woken, stop=stop)

    async def _run_spaced(self) -> Mapping[str, int]:
        await asyncio.sleep(max(self._earliest_run - time.monotonic(), GATHERING_SECONDS))
        self._earliest_run = time.monotonic() + SPACING_SECONDS
        # What was committed during the pause is published now.
        self._woken.clear()
        return await self.run_once()

    async def run_once(self) -> Mapping[str, int]:
        """Publishes all rows; returns counts of rows published and kept."""
        counts = {"published": 0, "kept": 0}
        while self._broker.is_connected:
            after, self._last_job = self._last_job, ""
            due = await self._database.run(partial(outbox.claim, after=after, limit=BATCH, seconds=HELD_SECONDS))
            if not due:
                if after:
                    continue
                break
            by_job = [list(rows) for _, rows in groupby(due, key=lambda row: row.job_id)]
            if len(by_job) == BATCH:
                self._last_job = due[-1].job_id
            first_ids = [rows[0].id for rows in by_job]
            async with self._holding(first_ids):
                results = await asyncio.gather(*(self._publish_in_order(rows) for rows in by_job))
            published = {id_ for confirmed in results for id_ in confirmed}
            kept = len(due) - len(published)
            await self._database.run(
                partial(_finish, published=sorted(published), kept=[id_ for id_ in first_ids if id_ not in published])
            )
            counts["published"] += len(published)
            counts["kept"] += kept
            if kept:
                self._log_kept(kept)
            # Whoever commits more rows from now on wakes the relay again.
            is_all = not after and len(by_job) < BATCH and max(map(len, by_job)) < outbox.MAX_ROWS_PER_JOB
            if kept or is_all:
                break
        return counts

    def _log_kept(self, kept: int) -> None:
        """Logs that the broker confirmed too little, at most once in `LOG_SECONDS`."""
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            event(_LOG, logging.WARNING, "events.not_published", messages=kept, reason=self._refusal)

    @asynccontextmanager
    async def _holding(self, first_ids: Sequence[UUID]) -> AsyncIterator[None]:
        """Renews the holds on jobs, by the ids of their first rows, until the block ends."""
        done = asyncio.Event()
        renewing = asyncio.create_task(self._renew(first_ids, done))
        try:
            yield
        finally:
            done.set()
            await renewing

    async def _renew(self, first_ids: Sequence[UUID], done: asyncio.Event) -> None:
        while not await pause_until(done, seconds=self._renewal_seconds):
            # A hold that expires causes repeated messages; each job's order stays.
            with suppress(DatabaseUnavailable):
                await self._database.run(lambda connection: outbox.renew(connection, first_ids, seconds=HELD_SECONDS))

    async def _publish_in_order(self, rows: Sequence[Due]) -> list[UUID]:
        """Publishes one job's rows until one is not confirmed; returns the ids of the confirmed ones."""
        confirmed: list[UUID] = []
        for row in rows:
            try:
                await self._publish(row)
            except BrokerUnavailable as error:
                self._refusal = str(error)
                break
            confirmed.append(row.id)
        return confirmed

    async def _publish(self, row: Due) -> None:
        await self._wake_ups.publish_once(row)
        message = event_pb2.JobEvent(
            job_id=row.job_id, tenant=row.tenant, sequence=row.sequence, type=row.type, status=row.state
        )
        message.occurred_at.CopyFrom(_timestamp(row))
        subject, body = streams.event_subject(tenant=row.tenant, job_id=row.job_id), message.SerializeToString()
        with sending(
            registry.SEND_EVENT,
            destination=_TEMPLATE,
            message_id=str(row.id),
            size=len(body),
            job_id=row.job_id,
            parent=row.traceparent,
        ):
            sent = event_headers(row, row.type, None)
            await self._broker.publish(subject, body, message_id=str(row.id), headers=sent)


def _timestamp(row: Due) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(row.occurred_at)
    return timestamp


def _finish(connection: Connection, *, published: Sequence[UUID], kept: Sequence[UUID]) -> None:
    outbox.delete(connection, published)
    if kept:
        outbox.release(connection, kept)
