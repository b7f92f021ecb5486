"""What transactions leave behind is published: in each job's order, until confirmed, whoever does it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from calotype import streams
from calotype.event.v1 import event_pb2
from sqlalchemy import Connection

from common.jetstream import JetStream
from common.postgres import Database
from services.job.relay import OutboxRelay
from services.job.store import outbox
from tests.support.jobs import JobDesk, stored
from tests.support.messages import broker_at
from tests.support.patience import PATIENCE


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[JetStream]:
    """A broker with all streams."""
    async with broker_at(nats_url) as broker:
        yield broker


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The pool of a relay."""
    opened = Database(database_url, application="test", pool_size=4)
    yield opened
    await opened.close()


async def published(broker: JetStream, count: int) -> dict[str, list[int]]:
    """Sequences by job, in the order of the stream."""
    subscription = await broker.context.pull_subscribe("calotype.event.>", stream=streams.EVENTS["name"])
    messages = await subscription.fetch(count, timeout=PATIENCE)
    by_job: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        event = event_pb2.JobEvent.FromString(message.data)
        by_job[event.job_id].append(event.sequence)
    return by_job


async def stored_count(broker: JetStream, stream: str) -> int:
    """Messages that a stream holds."""
    return int((await broker.context.stream_info(stream)).state.messages)


async def test_a_jobs_events_are_published_in_order_and_wake_workers(
    broker: JetStream, database: Database, desk: JobDesk
) -> None:
    job = desk.upload()
    desk.fold(stored(job))
    counts = await OutboxRelay(database, broker).run_once()

    assert counts["published"] == 6
    assert await published(broker, 6) == {job.id: [1, 2, 3, 4, 5, 6]}
    # generate, upload and delete became due
    assert await stored_count(broker, streams.WORK["name"]) == 3
    assert desk.sql("SELECT 1 FROM outbox") == []


async def test_two_relays_at_once_publish_everything_once_and_in_order(
    broker: JetStream, database: Database, desk: JobDesk
) -> None:
    jobs = [desk.upload() for _ in range(10)]
    relays = [OutboxRelay(database, broker) for _ in range(3)]
    await asyncio.gather(*(relay.run_once() for relay in relays))
    await relays[0].run_once()
    by_job = await published(broker, 50)

    assert by_job == {job.id: [1, 2, 3, 4, 5] for job in jobs}
    assert await stored_count(broker, streams.EVENTS["name"]) == 50


async def test_a_row_whose_job_another_relay_holds_waits_for_it(
    broker: JetStream, database: Database, desk: JobDesk
) -> None:
    job = desk.create().job
    desk.run(lambda c: outbox.claim(c, most=10, seconds=30))
    desk.claim()
    counts = await OutboxRelay(database, broker).run_once()

    assert counts == {"published": 0, "kept": 0}
    assert await stored_count(broker, streams.EVENTS["name"]) == 0
    assert len(desk.sql("SELECT 1 FROM outbox WHERE job_id = :id", id=job.id)) == 2


async def test_a_relay_that_died_after_publishing_is_followed_by_one_that_does_no_harm(
    broker: JetStream, database: Database, desk: JobDesk
) -> None:
    desk.create()
    saved = desk.sql("SELECT id, job_id, sequence, wake, traceparent FROM outbox")
    await OutboxRelay(database, broker).run_once()

    def restore(connection: Connection) -> None:
        outbox.add(connection, [outbox.Entry(**row._mapping) for row in saved])

    desk.run(restore)
    await OutboxRelay(database, broker).run_once()

    assert await stored_count(broker, streams.EVENTS["name"]) == 1
    assert desk.sql("SELECT 1 FROM outbox") == []


async def test_a_wiped_broker_is_set_up_again_and_nothing_unpublished_is_lost(
    broker: JetStream, database: Database, desk: JobDesk
) -> None:
    desk.create()
    for stream in streams.STREAMS:
        await broker.context.delete_stream(stream["name"])
    counts = await OutboxRelay(database, broker).run_once()

    assert counts["published"] == 1
    assert await stored_count(broker, streams.EVENTS["name"]) == 1
    assert await stored_count(broker, streams.WORK["name"]) == 1
