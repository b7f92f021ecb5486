"""What a transaction changed is told once it is committed: wake-ups are published, and watchers need no query."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from calotype import streams

from common.sql import Connection
from services.job.application import user_actions
from services.job.domain.jobs import Snapshot
from services.job.loops.job_watchers import Watchers
from services.job.loops.outbox_relay import OutboxRelay
from services.job.loops.wake_up_publisher import WakeUpPublisher
from services.job.store import events
from services.job.store.committed_changes import CommittedChange, JobDatabase
from tests.support.brokers.recording_broker import RecordingJetStream
from tests.support.job_service.counted_statements import counted_statements
from tests.support.job_service.use_cases import JobUseCases, stored
from tests.support.patience import PATIENCE


class WokenWorkers(RecordingJetStream):
    """Records the subjects and message ids of wake-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.woken: list[tuple[str, str]] = []

    async def publish_core(self, subject: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        """Notes a wake-up."""
        self.woken.append((subject, (headers or {})["Nats-Msg-Id"]))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[JobDatabase]:
    """The job store, which tells listeners."""
    opened = JobDatabase(database_url, application="test", pool_size=2)
    yield opened
    await opened.close()


def cancel(job_id: str) -> Any:
    """Returns a unit of work that cancels a job."""
    return lambda connection: user_actions.cancel_job(connection, "acme", job_id, idempotency_key="")


async def complete(database: JobDatabase, desk: JobUseCases) -> str:
    """Has a job's images stored, by which it is completed and its staging folder is due; returns its id."""
    job = desk.upload()
    await database.run(lambda connection: desk.on(connection).apply(stored(job)))
    return job.id


async def test_a_wake_up_is_published_at_the_commit_and_only_then(database: JobDatabase, desk: JobUseCases) -> None:
    broker = WokenWorkers()
    relay = OutboxRelay(database, broker)
    database.add_listener(relay.on_commit)
    await complete(database, desk)
    await asyncio.sleep(0)

    [(subject, message_id)] = broker.woken
    assert subject == streams.WAKE_DELETE
    # Those of the job's earlier changes were committed elsewhere: the relay publishes them, and not that one again.
    await relay.run_once()
    assert [subject for subject, _ in broker.woken] == [
        streams.WAKE_DELETE,
        streams.WAKE_GENERATE,
        streams.WAKE_UPLOAD,
    ]
    assert message_id not in [message_id for _, message_id in broker.woken[1:]]


async def test_nobody_is_told_of_what_is_rolled_back(database: JobDatabase, desk: JobUseCases) -> None:
    told: list[Any] = []
    database.add_listener(told.extend)
    job = desk.create().job

    def fail(connection: Connection) -> None:
        cancel(job.id)(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(fail)
    await database.run(cancel(job.id))

    assert [change.due.sequence for change in told] == [2]


async def test_what_is_told_equals_the_event(database: JobDatabase, desk: JobUseCases) -> None:
    told: list[CommittedChange] = []
    database.add_listener(told.extend)
    job_id = await complete(database, desk)
    [change] = told
    [stored_event] = desk.run(lambda c: events.later(c, {job_id: change.due.sequence - 1}, limit=2))

    assert events.as_public(change.snapshot) == stored_event
    assert stored_event.artifacts


async def test_a_watcher_that_has_read_all_before_needs_no_query_and_another_one_is_read_for(
    database: JobDatabase, desk: JobUseCases
) -> None:
    watchers = Watchers(database, RecordingJetStream())
    database.add_listener(watchers.on_commit)
    job = desk.create().job
    desk.claim()
    seen: dict[int, list[int]] = {2: [], 1: []}

    async def follow(after: int) -> None:
        async for change in watchers.follow("acme", job.id, after=after):
            assert isinstance(change, Snapshot)
            seen[after].append(change.job.sequence)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(follow(after)) for after in seen]
        await asyncio.sleep(0)
        await database.run(cancel(job.id))
        await reading[0]
        assert seen == {2: [3], 1: []}
        with counted_statements() as sent:
            await watchers.run_once()

    assert seen == {2: [3], 1: [2, 3]}
    assert len(sent) == 1


async def test_the_memory_of_published_wake_ups_is_bounded(database: JobDatabase, desk: JobUseCases) -> None:
    broker, told = WokenWorkers(), list[CommittedChange]()
    publisher = WakeUpPublisher(broker, max_remembered=1, quiet_seconds=0)
    database.add_listener(told.extend)
    for _ in range(2):
        await complete(database, desk)
    for change in told:
        publisher.on_commit([change])
        await asyncio.sleep(0)
    for change in told:
        await publisher.publish_once(change.due)

    first, second = (f"{change.due.id}-wake" for change in told)
    assert [message_id for _, message_id in broker.woken] == [first, second, first]


async def test_under_load_wake_ups_of_a_kind_are_left_to_the_relay(database: JobDatabase, desk: JobUseCases) -> None:
    broker, told = WokenWorkers(), list[CommittedChange]()
    publisher = WakeUpPublisher(broker, quiet_seconds=3600)
    database.add_listener(told.extend)
    for _ in range(2):
        await complete(database, desk)
    for change in told:
        publisher.on_commit([change])
        await asyncio.sleep(0)
    at_commit = [message_id for _, message_id in broker.woken]
    for change in told:
        await publisher.publish_once(change.due)

    first, second = (f"{change.due.id}-wake" for change in told)
    assert at_commit == [first]
    assert [message_id for _, message_id in broker.woken] == [first, second]
