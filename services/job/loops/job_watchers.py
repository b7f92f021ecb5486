"""Watchers of jobs: woken by events, and fed from the database by one query for all of them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from calotype.event.v1 import event_pb2
from calotype.job.v1 import job_service_pb2

from common.jetstream import JetStream
from common.loops import run_every
from common.postgres import Database
from common.sql import Connection
from common.telemetry import metrics, registry
from services.job.domain.jobs import Snapshot
from services.job.loops.live_progress import LiveProgress
from services.job.store import events
from services.job.store.committed_changes import CommittedChange

#: Changes that are queued for a slow reader; later ones are read from the database when its queue is empty. Progress is
#: not stored: a stream whose queue is full then is ended, and its reader resumes after its last sequence.
MAX_WAITING_CHANGES = 256
#: Changes of all watched jobs that one query reads; the next query follows at once.
MAX_READ = 1_000
#: Seconds between two polls of all watched jobs, in case messages were lost.
SLOW_POLL = 5.0


@dataclass(eq=False)
class _Watcher:
    """One reader of a job's changes."""

    #: The watched job.
    job_id: str
    #: Sequence of the last change in its queue.
    after: int
    #: Changes to read; None ends the stream.
    queue: "asyncio.Queue[Snapshot | job_service_pb2.Progress | None]"
    #: Whether its queue was full, so that later changes stay in the database until it is empty.
    lags: bool = False

    def offer(self, change: Snapshot | job_service_pb2.Progress) -> None:
        if isinstance(change, Snapshot):
            if change.job.sequence <= self.after:
                return
            if self.queue.full():
                self.lags = True
                return
            self.after = change.job.sequence
        elif self.queue.full():
            if not self.lags:
                self.end()
            return
        self.queue.put_nowait(change)

    def end(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Watchers:
    """All readers of jobs in this process."""

    def __init__(
        self,
        database: Database,
        broker: JetStream,
        *,
        max_read: int = MAX_READ,
        max_waiting: int = MAX_WAITING_CHANGES,
    ) -> None:
        self._database = database
        self._broker = broker
        #: Live progress of all jobs, watched or not.
        self.live_progress = LiveProgress()
        self._max_read = max_read
        self._max_waiting = max_waiting
        self._by_job: dict[str, set[_Watcher]] = defaultdict(set)
        # Ids of jobs to read, in this order.
        self._changed: dict[str, None] = {}
        self._woken = asyncio.Event()
        metrics.read(registry.JOB_WATCHERS, lambda: sum(map(len, self._by_job.values())))

    async def follow(
        self, tenant: str, job_id: str, *, after: int
    ) -> AsyncIterator[Snapshot | job_service_pb2.Progress]:
        """Yields every change after a sequence, in order; ends after a final one, or when the reader is too slow."""
        watcher = _Watcher(job_id=job_id, after=after, queue=asyncio.Queue(maxsize=self._max_waiting))
        self._by_job[job_id].add(watcher)
        self._wake(job_id)
        is_final = False
        try:
            while (change := await watcher.queue.get()) is not None:
                if watcher.lags and watcher.queue.empty():
                    watcher.lags = False
                    self._wake(job_id)
                yield change
                if isinstance(change, Snapshot):
                    is_final = change.job.is_final
                # Progress may follow the last change in the queue.
                if is_final and watcher.queue.empty():
                    return
        finally:
            self._by_job[job_id].discard(watcher)
            if not self._by_job[job_id]:
                del self._by_job[job_id]

    def on_commit(self, changes: Sequence[CommittedChange]) -> None:
        """Queues committed changes of this process for the watchers that have read all before; others are read for."""
        for change in changes:
            job_id, sequence = change.due.job_id, change.due.sequence
            if job_id not in self._by_job:
                continue
            snapshot = events.as_public(change.snapshot)
            for watcher in tuple(self._by_job[job_id]):
                if watcher.after == sequence - 1 and not watcher.lags:
                    watcher.offer(snapshot)
                elif watcher.after < sequence:
                    self._wake(job_id)

    async def run(self, stop: asyncio.Event) -> None:
        """Feeds watchers until `stop` is set."""
        await self._broker.subscribe_core("calotype.event.*.*", self._on_event)
        await self._broker.subscribe_core("calotype.progress.*.*", self._on_progress)
        poll = asyncio.create_task(run_every("watch_poll", self._wake_all, interval=SLOW_POLL, stop=stop))
        await run_every("watchers", self.run_once, interval=SLOW_POLL, wake=self._woken, stop=stop)
        await poll
        for watchers in tuple(self._by_job.values()):
            for watcher in tuple(watchers):
                watcher.end()

    async def run_once(self) -> Mapping[str, int]:
        """Reads the changes of watched jobs, for all their watchers at once; returns their number."""
        changed, self._changed = self._changed, {}
        positions = {
            job_id: min(sequences)
            for job_id in changed
            if (sequences := [watcher.after for watcher in self._by_job.get(job_id, ()) if not watcher.lags])
        }
        if not positions:
            return {}
        limit = self._max_read

        def read(connection: Connection) -> tuple[list[Snapshot], set[str]]:
            changes = events.later(connection, positions, limit=limit)
            unchanged = positions.keys() - {change.job.id for change in changes}
            return changes, events.deleted_or_missing(connection, unchanged) if unchanged else set()

        found, gone = await self._database.run(read)
        if len(found) == limit:
            self._read_the_rest(list(positions), found[-1].job.id)
        for job_id, snapshots in groupby(found, key=lambda snapshot: snapshot.job.id):
            self._offer(job_id, tuple(snapshots), after=positions[job_id])
        for job_id in gone:
            for watcher in tuple(self._by_job.get(job_id, ())):
                watcher.end()
        return {"changes": len(found)}

    def _offer(self, job_id: str, snapshots: Sequence[Snapshot], *, after: int) -> None:
        """Queues changes after a sequence for watchers. A watcher further back joined meanwhile: it is read again."""
        for watcher in tuple(self._by_job.get(job_id, ())):
            if watcher.lags:
                continue
            if watcher.after < after:
                self._wake(job_id)
                continue
            for snapshot in snapshots:
                watcher.offer(snapshot)

    def _read_the_rest(self, job_ids: Sequence[str], last: str) -> None:
        """Continues after a full query: first the jobs after the last one read, so that none is always the last."""
        following = job_ids[job_ids.index(last) + 1 :]
        self._changed = dict.fromkeys([*following, *self._changed, last])
        self._woken.set()

    def _wake(self, job_id: str) -> None:
        self._changed[job_id] = None
        self._woken.set()

    async def _wake_all(self) -> None:
        for job_id in tuple(self._by_job):
            self._wake(job_id)

    async def _on_event(self, subject: str, body: bytes) -> None:
        job_id = subject.rpartition(".")[2]
        if watchers := self._by_job.get(job_id):
            sequence = event_pb2.JobEvent.FromString(body).sequence
            # Most watchers have the change from this process's own transaction. 0: an event that does not say.
            if not sequence or any(watcher.after < sequence for watcher in watchers):
                self._wake(job_id)

    async def _on_progress(self, subject: str, body: bytes) -> None:
        job_id, progress = subject.rpartition(".")[2], job_service_pb2.Progress.FromString(body)
        self.live_progress.update(job_id, progress)
        for watcher in tuple(self._by_job.get(job_id, ())):
            watcher.offer(progress)
