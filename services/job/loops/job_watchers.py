"""Watchers of jobs: woken by events, fed from the database, one query per tick for all of them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from calotype.job.v1 import job_service_pb2

from common.jetstream import JetStream
from common.loops import run_every
from common.postgres import Database
from services.job.domain.jobs import Snapshot
from services.job.store import events

#: Changes that wait for one slow reader; later ones wait in the database. Word of progress waits nowhere: a stream that
#: has no room for it is ended, and its reader resumes by its last sequence.
MAX_WAITING_CHANGES = 256
#: Changes that are read at once, of all watched jobs; what is beyond them is read right after.
MOST_AT_ONCE = 1_000
#: All watched jobs are looked at so often (seconds), whatever messages were lost.
SLOW_POLL = 5.0


@dataclass(eq=False)
class _Watcher:
    job_id: str
    after: int
    queue: "asyncio.Queue[Snapshot | job_service_pb2.Progress | None]"
    # Its queue was full: what follows stays in the database until it has emptied that.
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
    """Everybody who follows a job through this process."""

    def __init__(
        self,
        database: Database,
        broker: JetStream,
        *,
        most_at_once: int = MOST_AT_ONCE,
        most_behind: int = MAX_WAITING_CHANGES,
    ) -> None:
        self._database = database
        self._broker = broker
        self._most_at_once = most_at_once
        self._most_behind = most_behind
        self._by_job: dict[str, set[_Watcher]] = defaultdict(set)
        # In the order in which they are read.
        self._changed: dict[str, None] = {}
        self._woken = asyncio.Event()

    async def follow(
        self, tenant: str, job_id: str, *, after: int
    ) -> AsyncIterator[Snapshot | job_service_pb2.Progress]:
        """Every change after a sequence, in order; ends after a final one, or when the reader is too slow."""
        watcher = _Watcher(job_id=job_id, after=after, queue=asyncio.Queue(maxsize=self._most_behind))
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
                # Word of progress may stand behind the last change.
                if is_final and watcher.queue.empty():
                    return
        finally:
            self._by_job[job_id].discard(watcher)
            if not self._by_job[job_id]:
                del self._by_job[job_id]

    async def run(self, stop: asyncio.Event) -> None:
        """Feed watchers until told to stop."""
        await self._broker.subscribe_core("calotype.event.*.*", self._hear_event)
        await self._broker.subscribe_core("calotype.progress.*.*", self._hear_progress)
        poll = asyncio.create_task(run_every("watch_poll", self._wake_all, interval=SLOW_POLL, stop=stop))
        await run_every("watchers", self.run_once, interval=SLOW_POLL, wake=self._woken, stop=stop)
        await poll
        for watchers in tuple(self._by_job.values()):
            for watcher in tuple(watchers):
                watcher.end()

    async def run_once(self) -> Mapping[str, int]:
        """Read what changed of the watched jobs, for all their watchers at once."""
        changed, self._changed = self._changed, {}
        positions = {
            job_id: min(places)
            for job_id in changed
            if (places := [watcher.after for watcher in self._by_job.get(job_id, ()) if not watcher.lags])
        }
        if not positions:
            return {}
        limit = self._most_at_once
        found, gone = await self._database.run(
            lambda connection: (events.later(connection, positions, limit=limit), events.gone(connection, positions))
        )
        if len(found) == limit:
            self._read_the_rest(list(positions), found[-1].job.id)
        for job_id, read in groupby(found, key=lambda seen: seen.job.id):
            self._offer(job_id, tuple(read), after=positions[job_id])
        for job_id in gone:
            for watcher in tuple(self._by_job.get(job_id, ())):
                watcher.end()
        return {"changes": len(found)}

    def _offer(self, job_id: str, read: Sequence[Snapshot], *, after: int) -> None:
        """Tell watchers what was read after a sequence. One that is further back joined meanwhile, and is read for."""
        for watcher in tuple(self._by_job.get(job_id, ())):
            if watcher.lags:
                continue
            if watcher.after < after:
                self._wake(job_id)
                continue
            for seen in read:
                watcher.offer(seen)

    def _read_the_rest(self, job_ids: Sequence[str], cut: str) -> None:
        """Go on where a read was cut off: first the jobs behind that one, so that none is always the last."""
        behind = job_ids[job_ids.index(cut) + 1 :]
        self._changed = dict.fromkeys([*behind, *self._changed, cut])
        self._woken.set()

    def _wake(self, job_id: str) -> None:
        self._changed[job_id] = None
        self._woken.set()

    async def _wake_all(self) -> None:
        for job_id in tuple(self._by_job):
            self._wake(job_id)

    async def _hear_event(self, subject: str, body: bytes) -> None:
        job_id = subject.rpartition(".")[2]
        if job_id in self._by_job:
            self._wake(job_id)

    async def _hear_progress(self, subject: str, body: bytes) -> None:
        watchers = self._by_job.get(subject.rpartition(".")[2])
        if watchers:
            progress = job_service_pb2.Progress.FromString(body)
            for watcher in tuple(watchers):
                watcher.offer(progress)
