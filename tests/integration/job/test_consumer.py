"""Facts are folded from the broker: bad ones alone are put aside, none is lost while something is away."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from calotype import streams
from calotype.fact.v1 import fact_pb2

from common.consuming import Message, Verdict
from common.health import Readiness
from common.jetstream import JetStream
from common.postgres import Database
from common.pulling import Subscription
from common.sql import Connection, text
from services.job.domain.failures import Stage
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from services.job.loops.fact_consumer import SHORTEST_ACK_WAIT, FactConsumer, facts_consumer
from services.job.loops.outbox_relay import OutboxRelay
from services.job.migrations import MIGRATIONS
from tests.support.brokers.facts import broker_at, images_generated, publish
from tests.support.job_service.use_cases import JobUseCases, use_cases_at
from tests.support.patience import PATIENCE
from tests.support.servers import embedded_servers


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[JetStream]:
    """A broker with all streams."""
    async with broker_at(nats_url) as broker:
        yield broker


class WatchedConsumer(FactConsumer):
    """Lets a test wait for the end of each batch."""

    def __init__(self, database: Database, broker: JetStream, limits: StageTimeouts) -> None:
        super().__init__(database, broker, OutboxRelay(database, broker), limits)
        self._handled = asyncio.Event()

    async def handle(self, messages: Sequence[Message]) -> list[Verdict]:
        """Fold, then say so."""
        verdicts = await super().handle(messages)
        self._handled.set()
        return verdicts

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the batch that makes it so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._handled.clear()
                if await asyncio.to_thread(condition):
                    return
                await self._handled.wait()


@asynccontextmanager
async def folding(
    broker: JetStream, database_url: str, *, limits: StageTimeouts | None = None
) -> AsyncIterator[WatchedConsumer]:
    """A consumer that runs; at the end of the block it has settled all that it was given."""
    database = Database(database_url, application="test", pool_size=2, queue_timeout_seconds=PATIENCE)
    consumer, stop = WatchedConsumer(database, broker, limits or StageTimeouts()), asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    yield consumer
    stop.set()
    await running
    await database.close()


async def waiting_facts(broker: JetStream) -> int:
    """Facts that nobody has acknowledged."""
    return int((await broker.context.stream_info(streams.FACTS["name"])).state.messages)


async def dead_letters(broker: JetStream, count: int) -> list[dict[str, str]]:
    """Headers of so many dead letters."""
    subscription = await broker.context.pull_subscribe("calotype.dead.>", stream=streams.DEAD_LETTERS["name"])
    found: list[dict[str, str]] = []
    while len(found) < count:
        missing = count - len(found)
        found += [dict(message.headers or {}) for message in await subscription.fetch(missing, timeout=PATIENCE)]
    return found


async def test_a_fact_moves_its_job(broker: JetStream, desk: JobUseCases, database_url: str) -> None:
    job, call = desk.generate()
    async with folding(broker, database_url) as consumer:
        await publish(broker, [images_generated(job, call)])
        await consumer.until(lambda: desk.job(job.id).state is State.UPLOADING)


async def test_a_fact_that_died_in_the_hands_of_a_replica_comes_again_after_a_lease(
    broker: JetStream, desk: JobUseCases, database_url: str
) -> None:
    job, call = desk.generate()
    await publish(broker, [images_generated(job, call)])
    dying = Subscription(broker, facts_consumer(StageTimeouts(lease_seconds=0.1)))
    while not await dying.fetch(1, wait_seconds=1):
        pass
    async with folding(broker, database_url, limits=StageTimeouts(lease_seconds=0.1)) as consumer:
        await consumer.until(lambda: desk.job(job.id).state is State.UPLOADING)
        known = await broker.context.consumer_info(streams.FACTS["name"], streams.FACTS_CONSUMER)
    await dying.close()

    assert known.config.ack_wait == SHORTEST_ACK_WAIT


@pytest.mark.parametrize("seconds", [30.0, 45.0])
def test_facts_come_again_no_later_than_a_lease_is_over(seconds: float) -> None:
    assert facts_consumer(StageTimeouts(lease_seconds=seconds)).ack_wait_seconds == seconds


async def test_one_bad_fact_harms_only_itself(broker: JetStream, desk: JobUseCases, database_url: str) -> None:
    work = [desk.generate() for _ in range(3)]
    good = [images_generated(job, call) for job, call in work]
    spoilt = desk.generate()
    refused = images_generated(*spoilt, sha256="not a digest")
    nul = fact_pb2.ProviderCallAccepted(job_id="job_\0", call_id="call_\0", operation_id="op")
    unstorable = fact_pb2.Fact(provider_call_accepted=nul)
    await publish(broker, [good[0], b"\xff\xff\xff", good[1], refused, unstorable, good[2]])
    async with folding(broker, database_url) as consumer:
        await consumer.until(lambda: all(desk.job(job.id).state is State.UPLOADING for job, _ in work))
        dead = await dead_letters(broker, 3)
    reasons = sorted(headers["Calotype-Dead-Reason"] for headers in dead)

    assert reasons[0].startswith("it cannot be decoded")
    assert "NUL" in reasons[1]
    assert "a_digest_is_sha256" in reasons[2]
    assert await waiting_facts(broker) == 0
    # Its worker will not say it again, and the next would say the same: the job is told of it at once.
    failed = desk.job(spoilt[0].id)
    assert failed.state is State.FAILED
    assert failed.failure is not None
    assert (failed.failure.reason, failed.failure.stage) == ("INTERNAL", Stage.GENERATING)


async def test_two_hundred_good_facts_do_not_wait_for_a_bad_one(
    broker: JetStream, desk: JobUseCases, database_url: str
) -> None:
    work = [desk.generate() for _ in range(200)]
    refused = images_generated(*desk.generate(), sha256="not a digest")
    await publish(broker, [refused, *(images_generated(job, call) for job, call in work)])
    async with folding(broker, database_url) as consumer:
        await consumer.until(lambda: desk.sql("SELECT count(*) FROM jobs WHERE state = 'uploading'")[0][0] == 200)
        [dead] = await dead_letters(broker, 1)

    assert "a_digest_is_sha256" in dead["Calotype-Dead-Reason"]


async def test_a_fact_is_acknowledged_after_the_commit_and_not_before(
    broker: JetStream, desk: JobUseCases, database_url: str
) -> None:
    job, call = desk.generate()
    await publish(broker, [images_generated(job, call)])
    loop, locked, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        # Not the job itself, as one that is locked is not waited for.
        connection.execute(text("SELECT 1 FROM provider_calls FOR UPDATE"))
        loop.call_soon_threadsafe(locked.set)
        assert go_on.wait(PATIENCE)

    holding = asyncio.create_task(asyncio.to_thread(desk.run, hold))
    await locked.wait()
    async with folding(broker, database_url) as consumer:
        await asyncio.to_thread(desk.await_blocked)
        info = await broker.context.consumer_info(streams.FACTS["name"], streams.FACTS_CONSUMER)
        while_it_waited = (info.num_ack_pending, await waiting_facts(broker), desk.job(job.id).state)
        go_on.set()
        await consumer.until(lambda: desk.job(job.id).state is State.UPLOADING)
    await holding

    assert while_it_waited == (1, 1, State.GENERATING)
    assert await waiting_facts(broker) == 0


async def test_facts_told_while_nobody_folds_are_folded_later(
    broker: JetStream, desk: JobUseCases, database_url: str
) -> None:
    job, call = desk.generate()
    await publish(broker, [images_generated(job, call)])
    async with folding(broker, database_url) as consumer:
        await consumer.until(lambda: desk.job(job.id).state is State.UPLOADING)


async def test_facts_told_while_the_database_is_away_are_folded_when_it_is_back(
    broker: JetStream, tmp_path: Path
) -> None:
    with embedded_servers.postgres_server(tmp_path) as server, use_cases_at(_migrated(server.url)) as desk:
        job, call = desk.generate()
        async with folding(broker, server.url) as consumer:
            desk.dispose()
            server.child.stop(PATIENCE)
            await publish(broker, [images_generated(job, call)])
            await consumer.until(lambda: not consumer.may_fetch)
            server.child.start()
            server.child.wait_ready(PATIENCE)
            await consumer.watch_database(Readiness("database"))
            await consumer.until(lambda: desk.job(job.id).state is State.UPLOADING)


@pytest.mark.parametrize(("revision", "is_ready"), [("0001", False), ("9999", True)])
async def test_a_schema_that_is_too_old_is_waited_for_and_a_newer_one_is_fine(
    broker: JetStream, desk: JobUseCases, database_url: str, revision: str, is_ready: bool
) -> None:
    [known] = desk.sql("SELECT version_num FROM alembic_version")
    ready = Readiness("database", "schema")
    async with folding(broker, database_url) as consumer:
        await consumer.watch_database(ready)
        assert ready.ok
        desk.sql(f"UPDATE alembic_version SET version_num = '{revision}'")
        await consumer.watch_database(ready)
        assert (ready.ok, consumer.may_fetch) == (is_ready, is_ready)
        desk.sql(f"UPDATE alembic_version SET version_num = '{known.version_num}'")
        await consumer.watch_database(ready)
        assert ready.ok


def _migrated(url: str) -> str:
    MIGRATIONS.upgrade(url)
    return url
