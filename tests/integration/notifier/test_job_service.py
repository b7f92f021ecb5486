"""What the notifier reads of job-service: from the real one, on a real database and a real broker."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from calotype import size_limits, streams

from common.errors import ServiceError
from common.grpc_client import channel
from common.jetstream import JetStream
from common.postgres import Database
from services.notifier.adapters import grpc_job_service
from services.notifier.adapters.grpc_job_service import GrpcJobService
from services.notifier.adapters.job_json import JobJson
from services.notifier.adapters.nats_wakeups import EventWakeUps
from services.notifier.loops.event_feed import EventFeed
from services.notifier.ports import ResumeTokenRefused
from services.notifier.store import cursor
from tests.support.brokers.facts import broker_at
from tests.support.job_service.real_job_service import job_service
from tests.support.job_service.use_cases import JobUseCases, stored, use_cases_at
from tests.support.notifier.scripted_store import Tables, job_event, key_of
from tests.support.patience import PATIENCE, pause
from tests.support.servers import embedded_servers as servers

ROOT = "https://images.example"
CALLBACK = "https://receiver.example/done"
CONSUMER = (streams.NOTIFIER_WAKE["stream"], streams.NOTIFIER_WAKE["durable"])
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def jobs_url(postgres: servers.Server, template: str) -> Iterator[str]:
    """job-service's database."""
    url = servers.copy_database(postgres.url, template)
    yield url
    servers.drop_database(postgres.url, url)


@pytest.fixture
def desk(jobs_url: str) -> Iterator[JobUseCases]:
    """job-service's use cases."""
    with use_cases_at(jobs_url) as desk:
        yield desk


@asynccontextmanager
async def adapter_at(jobs_url: str, nats_url: str) -> AsyncIterator[GrpcJobService]:
    """The adapter, with a job-service that runs."""
    async with job_service(jobs_url, nats_url) as address, channel(address) as opened:
        yield GrpcJobService(opened, render=JobJson(ROOT))


@pytest.fixture
async def adapter(jobs_url: str, nats_url: str) -> AsyncIterator[GrpcJobService]:
    """The adapter, with a job-service that runs."""
    async with adapter_at(jobs_url, nats_url) as adapter:
        yield adapter


async def test_the_feed_is_read_page_by_page_and_continued_by_its_token(
    adapter: GrpcJobService, desk: JobUseCases
) -> None:
    ended = [desk.cancel(desk.create(callback_url=CALLBACK if number else None).job.id).job for number in range(3)]
    first = await adapter.final_events(resume_token=None, since=LONG_AGO, limit=2)
    second = await adapter.final_events(resume_token=first.resume_token, since=LONG_AGO, limit=2)
    later = desk.cancel(desk.create().job.id).job
    third = await adapter.final_events(resume_token=second.resume_token, since=LONG_AGO, limit=2)

    assert [event.job_id for page in (first, second, third) for event in page.events] == [
        job.id for job in (*ended, later)
    ]
    assert [page.is_end for page in (first, second, third)] == [False, True, True]
    assert [event.callback_url for event in first.events] == [None, CALLBACK]
    event = first.events[1]
    assert (event.tenant, event.sequence, event.type) == ("acme", ended[1].sequence, "job.canceled")
    assert event.occurred_at == ended[1].updated_at


async def test_without_a_token_what_occurred_before_is_left_out(adapter: GrpcJobService, desk: JobUseCases) -> None:
    desk.cancel(desk.create().job.id)
    page = await adapter.final_events(resume_token=None, since=datetime.now(UTC) + timedelta(days=1), limit=10)

    assert (list(page.events), page.is_end, page.resume_token != "") == ([], True, True)


async def test_a_token_of_nobody_is_an_error_that_can_be_told_from_an_outage(adapter: GrpcJobService) -> None:
    with pytest.raises(ResumeTokenRefused):
        await adapter.final_events(resume_token="x", since=LONG_AGO, limit=10)
    with pytest.raises(ServiceError) as refused:
        await adapter.final_events(resume_token=None, since=LONG_AGO, limit=-1)

    assert (refused.value.status, refused.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")


async def test_when_job_service_knows_a_token_no_more_the_feed_goes_on_and_repeats_nothing(
    adapter: GrpcJobService, desk: JobUseCases, database: Database, store: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = store.endpoint()
    read, unread = [desk.create().job.id for _ in range(3)], desk.create().job.id
    feed = EventFeed(database, adapter, delivered=lambda: None, new_key=key_of)
    for job_id in read:
        desk.cancel(job_id)
    assert (await feed.run_once())["deliveries"] == 3
    desk.cancel(unread)
    # As after a restore into another database, or an upgrade to another format.
    desk.sql("UPDATE secrets SET value = sha256('another') WHERE name = 'page_tokens'")

    assert await feed.run_once() == {"events": 4, "deliveries": 1}
    assert {job_id for job_id, _ in store.states(endpoint)} == {*read, unread}
    assert await feed.run_once() == {"events": 0, "deliveries": 0}
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "event_feed.token_refused"
    ]


async def test_only_the_newest_part_of_the_feed_is_read_again(store: Tables) -> None:
    store.endpoint()
    store.fan_out(job_event("job_1"))
    [(newest,)] = store.sql("SELECT max(occurred_at) FROM webhook_deliveries")
    before = store.run(cursor.read).since
    store.run(cursor.restart)
    assert store.run(cursor.read) == cursor.Cursor(resume_token=None, since=max(before, newest - timedelta(days=1)))
    store.sql("UPDATE event_cursor SET since = now() - interval '30 days', resume_token = 'x'")
    store.run(cursor.restart)
    assert store.run(cursor.read) == cursor.Cursor(resume_token=None, since=newest - timedelta(days=1))


async def test_without_deliveries_the_feed_is_read_from_where_it_began(store: Tables) -> None:
    before = store.run(cursor.read).since
    store.run(lambda c: cursor.move(c, "x"))
    store.run(cursor.restart)
    assert store.run(cursor.read) == cursor.Cursor(resume_token=None, since=before)


async def test_a_job_is_written_as_the_http_api_shows_it(adapter: GrpcJobService, desk: JobUseCases) -> None:
    job = desk.upload(prompt="a lighthouse", end_user="somebody", metadata={"order": "7"})
    desk.apply(stored(job))
    ended = desk.job(job.id)
    key = (ended.id, ended.sequence)
    written = await adapter.jobs([key, key, ("job_none", 1)])
    shown = json.loads(written[key].json)

    assert written.keys() == {key}
    assert written[key].traceparent == desk.job(job.id).traceparent
    assert (shown["id"], shown["status"], shown["sequence"]) == (ended.id, "completed", ended.sequence)
    assert (shown["request"]["prompt"], shown["metadata"], shown["end_user"]) == (
        "a lighthouse",
        {"order": "7"},
        "somebody",
    )
    assert shown["artifacts"][0]["url"].startswith("http://pictures.test/bucket/")
    assert shown["links"]["self"] == f"{ROOT}/v1/jobs/{ended.id}"


async def test_a_deleted_job_is_written_without_what_was_its_users(adapter: GrpcJobService, desk: JobUseCases) -> None:
    ended = desk.cancel(desk.create(prompt="a secret", end_user="somebody", metadata={"a": "b"}).job.id).job
    desk.delete(ended.id)
    written = (await adapter.jobs([(ended.id, ended.sequence)]))[ended.id, ended.sequence].json
    shown = json.loads(written)

    assert (shown["status"], shown["request"], shown["metadata"], shown["end_user"]) == ("canceled", None, {}, None)
    assert not [word for word in ("a secret", "somebody") if word in written]


async def test_more_jobs_than_fit_into_a_call_are_read_in_several(
    adapter: GrpcJobService, desk: JobUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_job_service, "JOBS_PER_CALL", 2)
    ended = [desk.cancel(desk.create().job.id).job for _ in range(5)]
    written = await adapter.jobs({(job.id, job.sequence) for job in ended})

    assert {json.loads(payload.json)["id"] for payload in written.values()} == {job.id for job in ended}


async def test_no_keys_are_no_call(adapter: GrpcJobService) -> None:
    assert await adapter.jobs([]) == {}


async def test_the_largest_jobs_fit_into_a_call(jobs_url: str, nats_url: str, desk: JobUseCases) -> None:
    ended = [desk.cancel(desk.create().job.id).job for _ in range(grpc_job_service.JOBS_PER_CALL)]
    # At their bounds, and in characters of four bytes.
    desk.sql(
        """UPDATE jobs SET request = request || jsonb_build_object(
            'prompt', repeat(:character, :longest), 'negative_prompt', repeat(:character, :longest),
            'provider_options', jsonb_build_object('x', repeat('a', :options)))""",
        character="\U0001f30a",
        longest=size_limits.MAX_PROMPT_CHARACTERS,
        options=size_limits.MAX_OPTIONS_BYTES,
    )
    size = grpc_job_service.MAX_RESPONSE_BYTES
    async with job_service(jobs_url, nats_url) as address, channel(address, max_message_bytes=size) as opened:
        adapter = GrpcJobService(opened, render=lambda job: job.id)
        assert len(await adapter.jobs([(job.id, job.sequence) for job in ended])) == len(ended)


async def test_without_job_service_a_call_is_unavailable() -> None:
    async with channel("127.0.0.1:1") as opened:
        adapter = GrpcJobService(opened, render=JobJson(ROOT))
        with pytest.raises(ServiceError) as refused:
            await adapter.jobs([("job_1", 1)])

    assert refused.value.is_unanswered


@pytest.fixture
async def broker(nats: servers.Server) -> AsyncIterator[JetStream]:
    """A broker with all streams and consumers."""
    async with broker_at(nats.url) as broker:
        yield broker


async def test_a_job_that_ends_wakes_the_notifier_and_one_that_begins_does_not(
    jobs_url: str, nats_url: str, desk: JobUseCases, broker: JetStream
) -> None:
    woken, stop = asyncio.Event(), asyncio.Event()
    wakeups = asyncio.create_task(EventWakeUps(broker, woken.set).run(stop))
    async with job_service(jobs_url, nats_url), asyncio.timeout(PATIENCE):
        job_id = desk.create().job.id
        while await acknowledged(broker) < 1:
            await pause()
        before = woken.is_set()
        desk.cancel(job_id)
        await woken.wait()
    stop.set()
    wakeups.cancel()
    await asyncio.gather(wakeups, return_exceptions=True)

    assert not before


async def acknowledged(broker: JetStream) -> int:
    """Events up to which the notifier has acknowledged all."""
    return (await broker.ack_floor(*CONSUMER)) or 0


async def test_what_was_published_before_the_consumer_was_declared_wakes_nobody(nats: servers.Server) -> None:
    async with broker_at(nats.url) as broker:
        await broker.context.delete_consumer(*CONSUMER)
        await broker.publish("calotype.event.acme.job_1", b"", message_id="1", headers={})
    async with broker_at(nats.url) as broker:
        found = await broker.context.consumer_info(*CONSUMER)

    assert (found.num_pending, found.config.max_deliver) == (0, 3)
