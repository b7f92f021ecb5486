"""Following a job: what a watcher is told, in order and once, whatever it knows already."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest
from calotype import streams
from calotype.job.v1 import job_pb2, job_service_pb2

from common.postgres import Database
from services.job.domain.jobs import Snapshot
from services.job.loops.job_watchers import MAX_WAITING_CHANGES, Watchers
from services.job.loops.live_progress import LiveProgress
from tests.support.job_service.api import Api, refusal_of
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import JobUseCases, failed, stored
from tests.support.patience import PATIENCE, pause


async def test_a_watcher_sees_the_job_as_it_is_and_then_every_change_to_the_end(api: Api, desk: JobUseCases) -> None:
    job, step = desk.create().job, asyncio.to_thread
    seen: list[tuple[int, int]] = []

    async def go_on(sequence: int) -> None:
        if sequence == 1:
            await api.claim()
        elif sequence == 2:
            held = desk.job(job.id)
            await step(desk.begin, held)
            await step(desk.apply, failed(held, retryable=False))

    async with asyncio.timeout(PATIENCE), api.watch(job.id) as updates:
        async for update in updates:
            seen.append((update.job.sequence, update.job.status))
            await go_on(update.job.sequence)

    assert seen == [
        (1, job_pb2.STATUS_QUEUED),
        (2, job_pb2.STATUS_PROCESSING),
        (3, job_pb2.STATUS_GENERATING),
        (4, job_pb2.STATUS_FAILED),
    ]


@pytest.mark.parametrize(("after", "expected"), [(None, [6]), (0, [1, 2, 3, 4, 5, 6]), (4, [5, 6]), (6, []), (9, [6])])
async def test_a_watcher_that_returns_gets_exactly_what_it_missed(
    api: Api, desk: JobUseCases, after: int | None, expected: list[int]
) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    async with asyncio.timeout(PATIENCE), api.watch(job.id, after) as updates:
        seen = [update.job.sequence async for update in updates]

    assert seen == expected


async def test_a_change_is_told_as_it_was_and_without_the_request(api: Api, desk: JobUseCases) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    async with asyncio.timeout(PATIENCE), api.watch(job.id, 2) as updates:
        told = [update.job async for update in updates]

    assert [one.status for one in told][::3] == [job_pb2.STATUS_GENERATING, job_pb2.STATUS_COMPLETED]
    assert [len(one.artifacts) for one in told] == [0, 0, 0, 1]
    assert not any(one.HasField("request") for one in told)


async def test_a_watcher_hears_progress_that_is_stored_nowhere(api: Api, desk: JobUseCases) -> None:
    job = desk.create().job
    told = job_service_pb2.Progress(percent=40, step=2, steps=5)
    async with asyncio.timeout(PATIENCE), api.watch(job.id) as updates:
        await anext(updates)
        # The watcher is known to the service once a change was told after the snapshot.
        await api.claim()
        await anext(updates)
        await api.broker.publish_core(streams.progress_subject(tenant="acme", job_id=job.id), told.SerializeToString())
        update = await anext(updates)

    assert update.progress == told
    assert desk.job(job.id).sequence == 2


async def test_each_replica_answers_with_the_furthest_progress_of_the_run(api: Api, desk: JobUseCases) -> None:
    job = desk.create().job
    subject = streams.progress_subject(tenant="acme", job_id=job.id)

    async def report(percent: float, **fields: int) -> None:
        told = job_service_pb2.Progress(percent=percent, **fields)
        await api.broker.publish_core(subject, told.SerializeToString())

    # Progress of an older worker that does not name its run, and of runs that are over, is not kept.
    for percent, fields in ((90, {}), (42, {"retry_count": 0}), (30, {"retry_count": 0})):
        await report(percent, **fields)
    async with asyncio.timeout(PATIENCE):
        while not (seen := await api.get(job.id)).HasField("generated_percent"):
            pass

    assert seen.generated_percent == 42
    assert [one.generated_percent for one in (await api.page()).jobs] == [42]
    held = (await api.claim())[0]
    await asyncio.to_thread(desk.begin, desk.job(job.id))
    await asyncio.to_thread(desk.apply, failed(desk.job(job.id), retryable=False))
    assert not (await api.get(held.job.id)).HasField("generated_percent")
    await asyncio.to_thread(desk.retry, job.id)
    assert not (await api.get(job.id)).HasField("generated_percent")


def test_progress_is_kept_of_a_bounded_number_of_jobs() -> None:
    progress = LiveProgress(limit=2)
    for number in range(100):
        progress.update(f"job_{number}", job_service_pb2.Progress(percent=1, retry_count=0))

    assert list(progress._by_job) == ["job_98", "job_99"]


def test_progress_of_an_earlier_run_is_ignored(desk: JobUseCases) -> None:
    progress, job = LiveProgress(), replace(desk.create().job, retry_count=1)
    for retry_count, percent in ((1, 20), (0, 90), (1, 10), (1, math.nan)):
        progress.update(job.id, job_service_pb2.Progress(percent=percent, retry_count=retry_count))

    assert progress.of(job) == 20
    assert progress.of(replace(job, retry_count=2)) is None


async def test_word_of_progress_behind_the_last_change_keeps_nobody(api: Api, desk: JobUseCases) -> None:
    job = desk.create().job
    told = job_service_pb2.Progress(percent=40).SerializeToString()
    slow, listener = (api.watching.follow("acme", job.id, after=after) for after in (0, 99))
    async with asyncio.timeout(PATIENCE), aclosing(slow), aclosing(listener):
        await anext(slow)
        hearing = asyncio.create_task(anext(listener))
        await asyncio.to_thread(desk.cancel, job.id)
        async for _ in api.watching.follow("acme", job.id, after=1):
            pass
        # By now the last change waits for the slow one; the listener hears progress alone.
        await api.broker.publish_core(streams.progress_subject(tenant="acme", job_id=job.id), told)
        await hearing
        rest = [change async for change in slow]

    assert [isinstance(change, Snapshot) for change in rest] == [True, False]


async def test_whoever_follows_a_job_that_is_deleted_is_let_go(api: Api) -> None:
    async with asyncio.timeout(PATIENCE):
        assert [change async for change in api.watching.follow("acme", "job_deleted", after=3)] == []


async def test_a_watch_of_nothing_is_refused(api: Api) -> None:
    async with api.watch("job_x") as updates:
        refusal = await refusal_of(anext(updates))

    assert refusal.reason == "JOB_NOT_FOUND"


@asynccontextmanager
async def following(watchers: Watchers, jobs: Sequence[str]) -> AsyncIterator[list[list[int]]]:
    """One watcher for each, who is there when the block begins; yields the sequences that each has heard."""
    heard: list[list[int]] = [[] for _ in jobs]

    async def follow(job_id: str, told: list[int]) -> None:
        async for change in watchers.follow("acme", job_id, after=0):
            assert isinstance(change, Snapshot)
            told.append(change.job.sequence)

    tasks = [asyncio.create_task(follow(job_id, told)) for job_id, told in zip(jobs, heard, strict=True)]
    await asyncio.sleep(0)
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The job store, for watchers that look when the test says so."""
    opened = Database(database_url, application="test", pool_size=1)
    yield opened
    await opened.close()


async def test_however_many_watch_however_many_jobs_one_look_asks_once(
    api: Api, desk: JobUseCases, database: Database
) -> None:
    jobs, watchers = [desk.create().job.id for _ in range(12)], Watchers(database, api.broker)
    async with following(watchers, jobs * 5) as heard:
        with counted_statements() as sent:
            await watchers.run_once()
        await asyncio.sleep(0)

    assert heard == [[1]] * 60
    # A job with a change is not gone.
    assert len([one for one in sent if "outbox" not in one]) == 1


async def test_what_one_look_cannot_hold_is_looked_at_right_after(
    api: Api, desk: JobUseCases, database: Database
) -> None:
    jobs, watchers = [desk.create().job.id for _ in range(5)], Watchers(database, api.broker, max_read=2)
    async with following(watchers, jobs) as heard:
        read = [await watchers.run_once() for _ in range(4)]
        await asyncio.sleep(0)

    assert read == [{"changes": 2}, {"changes": 2}, {"changes": 1}, {}]
    assert heard == [[1]] * 5


async def test_a_watcher_that_falls_too_far_behind_is_let_go_and_misses_nothing_when_it_returns(
    api: Api, desk: JobUseCases
) -> None:
    job = desk.create().job
    async with asyncio.timeout(PATIENCE), aclosing(api.watching.follow("acme", job.id, after=0)) as changes:
        first = await anext(changes)
        for number in range(MAX_WAITING_CHANGES + 1):
            progress = job_service_pb2.Progress(percent=number / 10, retry_count=0).SerializeToString()
            await api.broker.publish_core(streams.progress_subject(tenant="acme", job_id=job.id), progress)
        # Progress and events are heard apart, so that one says nothing of the other.
        while api.watching.live_progress.of(job) != pytest.approx(MAX_WAITING_CHANGES / 10):
            await pause()
        desk.cancel(job.id)
        await let_them_look(api, desk)
        rest = [change async for change in changes]
        again = [change async for change in api.watching.follow("acme", job.id, after=1)]

    assert isinstance(first, Snapshot)
    assert rest == []
    assert [change.job.sequence for change in again if isinstance(change, Snapshot)] == [2]


async def tell_again(api: Api, job_id: str, *, times: int = 3) -> None:
    """Let the watchers hear once more that something about a job has changed."""
    for _ in range(times):
        await api.broker.publish_core(streams.event_subject(tenant="acme", job_id=job_id), b"")


async def let_them_look(api: Api, desk: JobUseCases) -> None:
    """Wait until the watchers have looked at all that they were told of by now: they are told in order."""
    job_id = desk.create().job.id
    async with aclosing(api.watching.follow("acme", job_id, after=1)) as changes:
        next_change = asyncio.create_task(anext(changes))
        desk.cancel(job_id)
        await tell_again(api, job_id, times=1)
        await next_change


@pytest.mark.parametrize("after", [0, 3, 5])
async def test_what_a_watcher_knows_is_not_sent_however_late_or_often_it_is_told(
    api: Api, desk: JobUseCases, after: int
) -> None:
    job = desk.upload()
    seen: list[int] = []

    async def follow() -> None:
        async for change in api.watching.follow("acme", job.id, after=after):
            assert isinstance(change, Snapshot)
            seen.append(change.job.sequence)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        for _ in range(3):
            await tell_again(api, job.id)
            await let_them_look(api, desk)
        before_the_end = list(seen)
        desk.apply(stored(job))
        await tell_again(api, job.id)

    assert before_the_end == list(range(after + 1, 6))
    assert seen == [*before_the_end, 6]


async def test_a_watcher_is_not_sent_what_only_another_one_has_missed(api: Api, desk: JobUseCases) -> None:
    job = desk.upload()
    seen: dict[int, list[int]] = {0: [], 2: [], 4: [], 5: []}

    async def follow(after: int) -> None:
        async for change in api.watching.follow("acme", job.id, after=after):
            assert isinstance(change, Snapshot)
            seen[after].append(change.job.sequence)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for after in seen:
            tasks.create_task(follow(after))
        await let_them_look(api, desk)
        desk.apply(stored(job))
        await tell_again(api, job.id)

    assert seen == {after: list(range(after + 1, 7)) for after in seen}
