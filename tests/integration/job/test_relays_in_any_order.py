"""Relays that run at once, die, freeze and wake up: each job is first heard of in order, and nothing is missed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from common.postgres import Database
from services.job.loops.outbox_relay import OutboxRelay
from tests.support.brokers.recording_broker import RecordingJetStream
from tests.support.job_service.use_cases import JobUseCases
from tests.support.patience import PATIENCE

JOBS = 2
#: What happens next: a job changes; a relay starts, and stalls at so many messages; a hold runs out; a stalled relay
#: dies or goes on.
STEPS = st.one_of(
    st.tuples(st.just("change"), st.integers(0, JOBS - 1)),
    st.tuples(st.just("start"), st.integers(1, 6)),
    st.tuples(st.just("run out"), st.just(0)),
    st.tuples(st.just("die"), st.integers(0, 3)),
    st.tuples(st.just("go on"), st.integers(0, 3)),
)


class Relays:
    """Relays on one database, those that stalled beside those that run to their end."""

    def __init__(self, desk: JobUseCases, database: Database) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        self._desk = desk
        self._database = database
        self._stalled: list[tuple[RecordingJetStream, asyncio.Task[object]]] = []

    async def start(self, stall_at: int | None = None) -> None:
        """Run one until it stalls or has nothing left."""
        broker = RecordingJetStream(first=self.heard, stall_at=stall_at)
        running = asyncio.create_task(OutboxRelay(self._database, broker).run_once())
        stalling = asyncio.create_task(broker.stalled.wait())
        await asyncio.wait([running, stalling], return_when=asyncio.FIRST_COMPLETED)
        stalling.cancel()
        if running.done():
            running.result()
        else:
            self._stalled.append((broker, running))

    async def die(self, which: int) -> None:
        """End a stalled one where it stands."""
        if self._stalled:
            _, running = self._stalled.pop(which % len(self._stalled))
            running.cancel()
            await asyncio.wait([running])

    async def go_on(self, which: int) -> None:
        """Let a stalled one go on, however long ago its holds ran out."""
        if self._stalled:
            broker, running = self._stalled.pop(which % len(self._stalled))
            broker.go_on.set()
            await running

    async def end(self) -> None:
        """Let all go on, and one more run to its end."""
        while self._stalled:
            await self.go_on(0)
        self.run_out()
        await self.start()

    def run_out(self) -> None:
        """Let the holds of all relays run out."""
        self._desk.sql(
            "UPDATE outbox SET claimed_until = clock_timestamp() - interval '1 s' WHERE claimed_until IS NOT NULL"
        )


def change(desk: JobUseCases, job_id: str) -> None:
    """Move a job by one."""
    claimed = [one for one in desk.claim(JOBS) if one.job.id == job_id]
    desk.sql("UPDATE jobs SET run_at = clock_timestamp() WHERE state = 'queued'")
    if not claimed and desk.job(job_id).lease is not None:
        desk.release(desk.job(job_id))


async def play(desk: JobUseCases, database_url: str, steps: Sequence[tuple[str, int]]) -> None:
    """Let it all happen, and look at what was heard."""
    database = Database(database_url, application="test", pool_size=4)
    jobs = [desk.create().job.id for _ in range(JOBS)]
    relays = Relays(desk, database)
    async with asyncio.timeout(PATIENCE):
        for step, which in steps:
            match step:
                case "change":
                    change(desk, jobs[which])
                case "start":
                    await relays.start(stall_at=which)
                case "run out":
                    relays.run_out()
                case "die":
                    await relays.die(which)
                case _:
                    await relays.go_on(which)
        await relays.end()
    await database.close()

    assert relays.heard == {job_id: list(range(1, desk.job(job_id).sequence + 1)) for job_id in jobs}
    assert desk.sql("SELECT 1 FROM outbox") == []


@settings(
    max_examples=30,
    database=None,
    # Shrinking would take minutes on a real database; a story can be read as it is.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@example(steps=[("start", 1), ("change", 0), ("start", 9)])
@given(steps=st.lists(STEPS, min_size=10, max_size=25))
def test_however_relays_die_freeze_and_wake_up_each_jobs_events_are_first_heard_in_order(
    desk: JobUseCases, database_url: str, steps: list[tuple[str, int]]
) -> None:
    desk.sql("TRUNCATE jobs CASCADE")
    asyncio.run(play(desk, database_url, steps))
