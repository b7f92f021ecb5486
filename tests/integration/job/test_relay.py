"""What transactions leave behind is published: in each job's order, until confirmed, whoever does it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest
from calotype import streams
from calotype.event.v1 import event_pb2

from common.jetstream import JetStream
from common.postgres import Database
from common.sql import Connection, text
from services.job.loops.outbox_relay import BATCH, OutboxRelay
from services.job.store import outbox, rows
from tests.support.brokers.facts import broker_at
from tests.support.brokers.recording_broker import RecordingJetStream
from tests.support.job_service.use_cases import JobUseCases, stored
from tests.support.patience import PATIENCE, pause


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
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    counts = await OutboxRelay(database, broker).run_once()

    assert counts["published"] == 6
    assert await published(broker, 6) == {job.id: [1, 2, 3, 4, 5, 6]}
    # generate, upload and delete became due
    assert await stored_count(broker, streams.WORK["name"]) == 3
    assert desk.sql("SELECT 1 FROM outbox") == []


async def test_two_relays_at_once_publish_everything_once_and_in_order(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    jobs = [desk.upload() for _ in range(10)]
    relays = [OutboxRelay(database, broker) for _ in range(3)]
    await asyncio.gather(*(relay.run_once() for relay in relays))
    await relays[0].run_once()
    by_job = await published(broker, 50)

    assert by_job == {job.id: [1, 2, 3, 4, 5] for job in jobs}
    assert await stored_count(broker, streams.EVENTS["name"]) == 50


async def test_a_row_whose_job_another_relay_holds_waits_for_it(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    job = desk.create().job
    desk.run(lambda c: outbox.claim(c, limit=10, seconds=30))
    desk.claim()
    counts = await OutboxRelay(database, broker).run_once()

    assert counts == {"published": 0, "kept": 0}
    assert await stored_count(broker, streams.EVENTS["name"]) == 0
    assert len(desk.sql("SELECT 1 FROM outbox WHERE job_id = :id", id=job.id)) == 2


async def test_a_relay_that_died_after_publishing_is_followed_by_one_that_does_no_harm(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    desk.create()
    saved = desk.sql("SELECT id, job_id, sequence, wake, traceparent FROM outbox")
    await OutboxRelay(database, broker).run_once()

    def restore(connection: Connection) -> None:
        rows.insert(connection, "outbox", [rows.to_json(outbox.OutboxMessage(**row._asdict())) for row in saved])

    desk.run(restore)
    await OutboxRelay(database, broker).run_once()

    assert await stored_count(broker, streams.EVENTS["name"]) == 1
    assert desk.sql("SELECT 1 FROM outbox") == []


async def test_a_wiped_broker_is_set_up_again_and_nothing_unpublished_is_lost(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    desk.create()
    for stream in streams.STREAMS:
        await broker.context.delete_stream(stream["name"])
    relay = OutboxRelay(database, broker)
    counts = await relay.run_once()

    assert counts["published"] == 1
    assert await stored_count(broker, streams.EVENTS["name"]) == 1
    # The first wake-up was published before the stream was there again, and is not needed: workers poll.
    desk.create()
    await relay.run_once()
    assert await stored_count(broker, streams.WORK["name"]) == 1


def test_jobs_that_another_relay_holds_take_no_place_of_others(desk: JobUseCases) -> None:
    held = [desk.create().job.id for _ in range(3)]
    desk.run(lambda c: outbox.claim(c, limit=3, seconds=30))
    waiting = desk.create().job.id
    for job_id in held:
        desk.cancel(job_id)
    newcomer = desk.create().job.id

    assert [row.job_id for row in desk.run(lambda c: outbox.claim(c, limit=3, seconds=30))] == [waiting, newcomer]


def test_a_claim_waits_for_nobody_and_leaves_out_what_another_is_just_taking(desk: JobUseCases) -> None:
    first, second = (desk.create().job.id for _ in range(2))

    def claim_both(connection: Connection) -> tuple[list[outbox.Due], list[outbox.Due]]:
        mine = outbox.claim(connection, limit=1, seconds=30)
        desk.cancel(first)
        return mine, desk.run(lambda c: outbox.claim(c, limit=1, seconds=30))

    mine, others = desk.run(claim_both)

    assert [[row.job_id for row in rows] for rows in (mine, others)] == [[first], [second]]


async def test_what_a_dead_relay_held_is_published_by_the_next(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    job = desk.create().job
    desk.run(lambda c: outbox.claim(c, limit=10, seconds=-1))
    desk.cancel(job.id)
    await OutboxRelay(database, broker).run_once()

    assert await published(broker, 2) == {job.id: [1, 2]}


async def test_a_hold_lasts_for_as_long_as_publishing_goes_on(database: Database, desk: JobUseCases) -> None:
    desk.create()
    broker = RecordingJetStream(stall_at=1)
    publishing = asyncio.create_task(OutboxRelay(database, broker, renewal_seconds=0.01).run_once())
    async with asyncio.timeout(PATIENCE):
        await broker.stalled.wait()
        [began] = desk.sql("SELECT claimed_until FROM outbox")
        while desk.sql("SELECT claimed_until FROM outbox") == [began]:
            await pause()
        broker.go_on.set()
        counts = await publishing

    assert counts == {"published": 1, "kept": 0}


async def test_what_the_broker_did_not_confirm_is_let_go_at_once(database: Database, desk: JobUseCases) -> None:
    job = desk.create().job
    desk.cancel(job.id)
    counts = await OutboxRelay(database, RecordingJetStream(refuse_from=2)).run_once()

    assert counts == {"published": 1, "kept": 1}
    assert [row.sequence for row in desk.run(lambda c: outbox.claim(c, limit=1, seconds=30))] == [2]


async def test_what_the_broker_does_not_confirm_is_logged_and_not_in_every_round(
    database: Database, desk: JobUseCases, caplog: pytest.LogCaptureFixture
) -> None:
    desk.create()
    relay = OutboxRelay(database, RecordingJetStream(refuse_from=1))
    for _ in range(3):
        await relay.run_once()
    [logged] = [one for one in caplog.records if one.message == "events.not_published"]

    assert (logged.messages, logged.reason) == (1, "as the test says")  # type: ignore[attr-defined]


async def test_a_job_with_many_changes_is_published_whole(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    job, changes = desk.create().job, 2 * outbox.MAX_ROWS_PER_JOB + 1
    for _ in range(outbox.MAX_ROWS_PER_JOB):
        [claimed] = desk.claim()
        desk.release(claimed.job)
        desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    await OutboxRelay(database, broker).run_once()

    assert await published(broker, changes) == {job.id: list(range(1, changes + 1))}
    assert desk.sql("SELECT 1 FROM outbox") == []


async def test_more_jobs_than_are_held_at_once_all_have_their_turn(database: Database, desk: JobUseCases) -> None:
    jobs, broker = [desk.create().job.id for _ in range(BATCH + 1)], RecordingJetStream()
    counts = await OutboxRelay(database, broker).run_once()

    assert counts == {"published": BATCH + 1, "kept": 0}
    assert sorted(broker.first) == sorted(jobs)


async def test_a_job_that_is_deleted_right_after_its_end_is_told_of_to_its_end(
    broker: JetStream, database: Database, desk: JobUseCases
) -> None:
    job = desk.upload()
    desk.apply(stored(job))
    desk.delete(job.id)
    await OutboxRelay(database, broker).run_once()

    assert await published(broker, 6) == {job.id: [1, 2, 3, 4, 5, 6]}


#: So many jobs with so many unpublished changes each.
BACKLOGS = {"many jobs": (4_000, 5), "many changes": (40, 500)}
ADD_JOBS = """
INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object('id', 'job_' || number))).*
FROM jobs, generate_series(1, :jobs) AS number
"""
ADD_EVENTS = """
INSERT INTO job_events
SELECT (jsonb_populate_record(event, jsonb_build_object('job_id', 'job_' || number, 'sequence', place))).*
FROM job_events AS event, generate_series(1, :jobs) AS number, generate_series(1, :changes) AS place
"""
ADD_ROWS = """
INSERT INTO outbox (id, job_id, sequence)
SELECT gen_random_uuid(), 'job_' || number, place
FROM generate_series(1, :jobs) AS number, generate_series(1, :changes) AS place
"""


@pytest.mark.parametrize(("jobs", "changes"), BACKLOGS.values(), ids=BACKLOGS.keys())
def test_a_claim_reads_what_it_takes_however_long_the_backlog(desk: JobUseCases, jobs: int, changes: int) -> None:
    desk.create()
    for add in (ADD_JOBS, ADD_EVENTS, ADD_ROWS):
        desk.sql(add, **{name: count for name, count in (("jobs", jobs), ("changes", changes)) if f":{name}" in add})
    desk.sql("ANALYZE outbox")

    def explained(connection: Connection) -> int:
        asked = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {outbox.HOLD_JOBS}")
        plan = connection.execute(asked, {"after": "", "limit": 16, "seconds": 0}).scalar_one()[0]["Plan"]
        assert plan["Actual Rows"] == 16
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    # The first look also passes what other tests have left in the index. A look at every row, or job, reads thousands.
    assert min(desk.run(explained) for _ in range(2)) < 400
