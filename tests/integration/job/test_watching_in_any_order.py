"""Watchers join, leave, lag and return while others are read for: each hears what follows its place, once, in order."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar, cast

from calotype.event.v1 import event_pb2
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from common.postgres import Database
from common.sql import Connection
from services.job.domain.jobs import Snapshot
from services.job.domain.states import State, Transition
from services.job.loops.job_watchers import Watchers
from services.job.store import events, job_writer, rows
from services.job.store.committed_changes import CommittedChange
from tests.support.brokers.recording_broker import RecordingJetStream
from tests.support.job_service.use_cases import JobUseCases
from tests.support.patience import PATIENCE

T = TypeVar("T")
JOBS = 2
#: Few, so that reads are cut off and readers fall behind.
MAX_READ, MAX_WAITING_CHANGES = 4, 3
#: Far more looks than any story needs: who looks so often looks for ever.
MANY_LOOKS = 500
PICK = st.integers(0, JOBS * 10)
#: What happens next. What a read finds is told when it ends; a reader who lags hears one change at a time. What is
#: committed is told by its own transaction, in any order; a change that is not is told by its event.
STEPS = st.tuples(
    st.sampled_from(["change", "commit", "tell", "join", "join and lag", "hear", "leave", "begin", "end"]), PICK
)


class GatedDatabase(Database):
    """A database whose answers come when the test lets them."""

    def __init__(self, url: str) -> None:
        super().__init__(url, application="test", pool_size=1)
        self.read, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def run(self, work: Callable[[Connection], T], *, attempts: int = 3) -> T:
        """Do the work, and answer once the gate is open."""
        found = await super().run(work, attempts=attempts)
        self.read.set()
        await self.go_on.wait()
        return found


class Reader:
    """One who follows a job to its end, and returns by its last sequence when it was let go."""

    def __init__(self, watchers: Watchers, job_id: str, *, after: int, lags: bool) -> None:
        self.job_id = job_id
        self.after = after
        self.heard: list[int] = []
        self.may_hear = asyncio.Semaphore(0 if lags else 10_000)
        self.following = asyncio.create_task(self._follow(watchers))

    async def _follow(self, watchers: Watchers) -> None:
        is_over = False
        while not is_over:
            place = self.heard[-1] if self.heard else self.after
            changes = cast("AsyncGenerator[Snapshot]", watchers.follow("acme", self.job_id, after=place))
            async with aclosing(changes):
                async for change in changes:
                    await self.may_hear.acquire()
                    self.heard.append(change.job.sequence)
                    is_over = change.job.is_final


class Story:
    """Jobs with their changes, and who follows them."""

    def __init__(self, desk: JobUseCases, database: GatedDatabase) -> None:
        self.readers: list[Reader] = []
        self.jobs = [desk.create() for _ in range(JOBS)]
        self._desk = desk
        self._database = database
        self._watchers = Watchers(database, RecordingJetStream(), max_read=MAX_READ, max_waiting=MAX_WAITING_CHANGES)
        self._reading: asyncio.Task[object] | None = None
        # Changes whose transactions have not told the watchers yet.
        self._committed: list[CommittedChange] = []

    async def go_on(self, step: str, pick: int) -> None:
        """Let one thing happen."""
        match step:
            case "change":
                await self.change(pick, State.QUEUED)
            case "commit":
                self.commit(pick, State.QUEUED)
            case "tell" if self._committed:
                self._watchers.on_commit([self._committed.pop(pick % len(self._committed))])
            case "begin":
                await self.begin()
            case "end":
                await self.end()
            case "hear" if self.readers:
                self.readers[pick % len(self.readers)].may_hear.release()
            case "leave" if self.readers:
                await self.leave(self.readers.pop(pick % len(self.readers)))
            case "join" | "join and lag":
                job = self.jobs[pick % JOBS].job
                after = pick // JOBS % (job.sequence + 1)
                self.readers.append(Reader(self._watchers, job.id, after=after, lags=step == "join and lag"))
        await self.others()

    def commit(self, pick: int, state: State) -> Snapshot:
        """Let a job change, and nobody be told yet."""
        job = self.jobs[pick % JOBS].job
        seen = replace(self.jobs[pick % JOBS], job=replace(job, sequence=job.sequence + 1, state=state))
        self._desk.run(lambda c: rows.insert(c, "job_events", [events.to_row(Transition.REQUEUE, seen)]))
        self.jobs[pick % JOBS] = seen
        self._committed += job_writer.as_committed([(Transition.REQUEUE, seen, None)])
        return seen

    async def change(self, pick: int, state: State) -> None:
        """Let a job change, and its event be heard."""
        job = self.commit(pick, state).job
        self._committed.pop()
        event = event_pb2.JobEvent(job_id=job.id, sequence=job.sequence)
        await self._watchers._on_event(f"calotype.event.acme.{job.id}", event.SerializeToString())

    async def begin(self) -> None:
        """Let a read begin, and find what is there now."""
        if self._reading is None:
            self._database.read.clear()
            self._database.go_on.clear()
            self._reading = asyncio.create_task(self._watchers.run_once())
            found = asyncio.create_task(self._database.read.wait())
            await asyncio.wait([self._reading, found], return_when=asyncio.FIRST_COMPLETED)
            found.cancel()

    async def end(self) -> None:
        """Let a read that began tell what it found."""
        self._database.go_on.set()
        if self._reading is not None:
            await self._reading
            self._reading = None

    async def leave(self, reader: Reader) -> None:
        """Let a reader go away."""
        reader.following.cancel()
        await asyncio.wait([reader.following])

    async def others(self) -> None:
        """Let everybody do what they can without another read."""
        for _ in range(10 * (MAX_WAITING_CHANGES + len(self.readers))):
            await asyncio.sleep(0)

    async def rest(self) -> None:
        """Look until nobody is to be read for."""
        await self.end()
        for _ in range(MANY_LOOKS):
            await self.others()
            if not await self._watchers.run_once():
                return
        raise AssertionError("watchers are read for without end")


async def play(desk: JobUseCases, url: str, steps: Sequence[tuple[str, int]]) -> None:
    """Let it all happen, then end every job, and look at what was heard."""
    database = GatedDatabase(url)
    story = Story(desk, database)
    async with asyncio.timeout(PATIENCE):
        for step, pick in steps:
            await story.go_on(step, pick)
        await story.rest()
        for pick in range(JOBS):
            await story.change(pick, State.CANCELED)
        for reader in story.readers:
            for _ in range(MANY_LOOKS):
                reader.may_hear.release()
        await story.rest()
        await asyncio.gather(*(reader.following for reader in story.readers))
    await database.close()

    ends = {seen.job.id: seen.job.sequence for seen in story.jobs}
    for reader in story.readers:
        assert reader.heard == list(range(reader.after + 1, ends[reader.job_id] + 1))


@settings(
    max_examples=60,
    database=None,
    # Shrinking would take minutes on a real database; a story can be read as it is.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@example(steps=[*[("change", 0)] * 4, ("join", 10), ("change", 0), ("begin", 0), ("join", 2), ("end", 0)])
@example(steps=[("join", 1), *[("commit", 0)] * 2, ("tell", 1), ("begin", 0), ("commit", 0), ("tell", 1), ("tell", 0)])
@given(steps=st.lists(STEPS, min_size=15, max_size=40))
def test_whoever_joins_lags_or_returns_meanwhile_hears_each_change_once_and_in_order(
    desk: JobUseCases, database_url: str, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(play(desk, database_url, steps))
