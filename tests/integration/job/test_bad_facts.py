"""Whatever a fact says, and whoever is in its way: it harms only itself, and nothing of it is lost in silence."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2.errors
import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from sqlalchemy.exc import DataError, OperationalError

from common.consuming import PARKED_AT, PARKED_SUBJECT, Ack, Message, Park, Reject, Retry, Verdict
from common.jetstream import JetStream
from common.postgres import Database
from common.sql import Connection, text
from services.job.domain.states import State
from services.job.domain.timeouts import StageTimeouts
from services.job.loops import fact_verdicts
from services.job.loops.fact_consumer import FactConsumer
from services.job.loops.outbox_relay import OutboxRelay
from services.job.loops.parked_facts import PATIENCE as A_DAY
from services.job.loops.parked_facts import ParkedFacts
from tests.support.brokers.facts import SUBJECT, broker_at, images_generated, publish
from tests.support.job_service.random_facts import wild_fact
from tests.support.job_service.use_cases import JobUseCases, generated
from tests.support.patience import PATIENCE, pause

#: Field 99 is of no version yet: a sender that was upgraded first.
NEWER = b"\x9a\x06\x00"


@pytest.fixture
async def broker(nats_url: str) -> AsyncIterator[JetStream]:
    """A broker with all streams."""
    async with broker_at(nats_url) as broker:
        yield broker


@pytest.fixture
async def consumer(broker: JetStream, desk: JobUseCases, database_url: str) -> AsyncIterator[FactConsumer]:
    """A consumer that is handed its facts by the test."""
    database = Database(database_url, application="test", pool_size=2, queue_timeout_seconds=PATIENCE)
    yield FactConsumer(database, broker, OutboxRelay(database, broker), StageTimeouts())
    await database.close()


@asynccontextmanager
async def running(consumer: FactConsumer) -> AsyncIterator[None]:
    """Facts come from the broker."""
    stop = asyncio.Event()
    reading = asyncio.create_task(consumer.run(stop))
    yield
    stop.set()
    await reading


@contextmanager
def locked(desk: JobUseCases, statement: str, **parameters: str) -> Iterator[None]:
    """Somebody holds rows: a person with psql, a replica that stands still."""
    is_locked, let_go = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        connection.execute(text(statement), parameters)
        is_locked.set()
        assert let_go.wait(PATIENCE)

    holding = threading.Thread(target=desk.run, args=(hold,))
    holding.start()
    try:
        assert is_locked.wait(PATIENCE)
        yield
    finally:
        let_go.set()
        holding.join()


def message(fact: fact_pb2.Fact | bytes, *, delivered: int = 1) -> Message:
    """A fact as it is delivered."""
    body = fact if isinstance(fact, bytes) else fact.SerializeToString()
    is_uploads = isinstance(fact, fact_pb2.Fact) and fact.HasField("images_stored")
    subject = f"{streams.FACT_UPLOAD}.images_stored" if is_uploads else SUBJECT
    return Message(subject=subject, body=body, headers={}, stream_sequence=1, delivered=delivered)


async def until_stored(broker: JetStream, stream: str, count: int) -> None:
    """Return once a stream has so many messages."""
    async with asyncio.timeout(PATIENCE):
        while (await broker.context.stream_info(stream)).state.messages != count:
            await pause()


async def test_facts_of_a_newer_type_are_parked_and_hold_up_neither_others_nor_the_monitor(
    broker: JetStream, consumer: FactConsumer, desk: JobUseCases
) -> None:
    job, call = desk.generate()
    await publish(broker, [NEWER, NEWER, images_generated(job, call)])
    async with running(consumer):
        await until_stored(broker, streams.FACTS["name"], 0)

    assert desk.job(job.id).state is State.UPLOADING
    assert (await broker.context.stream_info(streams.PARKED_FACTS["name"])).state.messages == 2
    assert await broker.ack_floor(streams.FACTS["name"], streams.FACTS_CONSUMER) == 3


async def park(broker: JetStream, body: bytes, *, since: datetime, subject: str = SUBJECT) -> None:
    """A fact that another version could not fold."""
    headers = {PARKED_SUBJECT: subject, PARKED_AT: since.isoformat(), "ce-type": "test"}
    await broker.publish(streams.PARKED_FACT, body, message_id=f"parked {since} {subject}", headers=headers)


async def test_a_version_that_knows_the_type_takes_up_what_was_parked(
    broker: JetStream, consumer: FactConsumer, desk: JobUseCases
) -> None:
    job, call = desk.generate()
    await park(broker, images_generated(job, call).SerializeToString(), since=datetime.now(UTC))
    counts = await ParkedFacts(broker).run_once()
    async with running(consumer):
        await until_stored(broker, streams.FACTS["name"], 0)

    assert counts == {"returned": 1, "dead_lettered": 0, "waiting": 0}
    assert desk.job(job.id).state is State.UPLOADING
    assert (await broker.context.stream_info(streams.PARKED_FACTS["name"])).state.messages == 0


async def test_what_nobody_knows_after_a_day_is_a_dead_letter(broker: JetStream) -> None:
    now = datetime.now(UTC)
    await park(broker, NEWER, since=now - A_DAY + timedelta(hours=1))
    await park(broker, NEWER, since=now - A_DAY - timedelta(hours=1))
    await park(broker, NEWER, since=now, subject="calotype.event.acme.job_1")
    counts = await ParkedFacts(broker).run_once()
    letter = await broker.stored(streams.DEAD_LETTERS["name"], 1, subject=streams.DEAD_FACT)

    assert counts == {"returned": 0, "dead_lettered": 2, "waiting": 1}
    assert letter is not None
    assert (letter.body, letter.headers["Calotype-Dead-Subject"]) == (NEWER, SUBJECT)


async def test_a_fact_that_is_parked_again_has_its_day_only_once(broker: JetStream, consumer: FactConsumer) -> None:
    since = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    await broker.publish(SUBJECT, NEWER, message_id="again", headers={PARKED_AT: since})
    async with running(consumer):
        await until_stored(broker, streams.PARKED_FACTS["name"], 1)
    parked = await broker.stored(streams.PARKED_FACTS["name"], 1, subject=streams.PARKED_FACT)

    assert parked is not None
    assert parked.headers[PARKED_AT] == since


async def test_a_job_that_somebody_has_locked_holds_up_nobody_else(
    consumer: FactConsumer, desk: JobUseCases, caplog: pytest.LogCaptureFixture
) -> None:
    (job, call), (other, others) = desk.generate(provider="paid"), desk.generate()
    accepted = fact_pb2.ProviderCallAccepted(job_id=job.id, call_id=call.id, operation_id="op")
    facts = [
        message(fact_pb2.Fact(provider_call_accepted=accepted)),
        message(images_generated(other, others)),
        message(images_generated(job, call)),
    ]
    with locked(desk, "SELECT 1 FROM jobs WHERE id = :id FOR UPDATE", id=job.id):
        first, second, third = await consumer.handle(facts)
        states = desk.job(job.id).state, desk.job(other.id).state
    assert await consumer.handle([facts[0], facts[2]]) == [Ack(), Ack()]

    # Neither is folded before the other could be.
    assert (first, second, third) == (Retry(fact_verdicts.HELD_UP_SECONDS), Ack(), Retry(fact_verdicts.HELD_UP_SECONDS))
    assert states == (State.GENERATING, State.UPLOADING)
    assert desk.job(job.id).state is State.UPLOADING
    # Nobody waited for it: the batch was folded as one.
    assert "facts.applied_separately" not in caplog.messages


async def test_any_other_locked_row_holds_up_only_who_needs_it(consumer: FactConsumer, desk: JobUseCases) -> None:
    (job, call), (other, others) = desk.generate(provider="paid"), desk.generate()
    failed = fact_pb2.StageFailed(fence=images_generated(job, call).images_generated.fence)
    failed.failure.stage = error_pb2.STAGE_GENERATING
    facts = [
        message(images_generated(job, call)),
        message(images_generated(other, others)),
        message(fact_pb2.Fact(stage_failed=failed)),
    ]
    with locked(desk, "SELECT 1 FROM provider_calls WHERE id = :id FOR UPDATE", id=call.id):
        first, second, third = await consumer.handle(facts)

    # The third needs no locked row, but must not overtake the first.
    assert (first, second, third) == (Retry(fact_verdicts.HELD_UP_SECONDS), Ack(), Retry(fact_verdicts.HELD_UP_SECONDS))
    assert consumer.may_fetch
    assert await consumer.handle([facts[0], facts[2]]) == [Ack(), Ack()]
    assert desk.job(job.id).state is State.UPLOADING


async def test_what_is_held_up_for_minutes_is_parked_and_never_buried(
    consumer: FactConsumer, desk: JobUseCases
) -> None:
    job, call = desk.generate(provider="paid")
    with locked(desk, "SELECT 1 FROM jobs WHERE id = :id FOR UPDATE", id=job.id):
        [verdict] = await consumer.handle([message(images_generated(job, call), delivered=1000)])

    assert isinstance(verdict, Park)
    assert desk.job(job.id).state is State.GENERATING


async def test_a_fact_that_was_parked_before_is_parked_again_at_once(consumer: FactConsumer, desk: JobUseCases) -> None:
    job, call = desk.generate(provider="paid")
    again = replace(message(images_generated(job, call)), headers={PARKED_AT: datetime.now(UTC).isoformat()})
    with locked(desk, "SELECT 1 FROM jobs WHERE id = :id FOR UPDATE", id=job.id):
        [verdict] = await consumer.handle([again])

    assert isinstance(verdict, Park)


class Stumbling(FactConsumer):
    """Stumbles over one fact, in whatever way."""

    def stumble(self, over: Message, error: Exception) -> None:
        """From now on."""
        self._over, self._error = over, error

    def _apply_all(self, connection: Connection, messages: Sequence[Message], lock_seconds: float) -> list[Verdict]:
        if self._over in messages:
            raise self._error
        return super()._apply_all(connection, messages, lock_seconds)


class Deadlock(psycopg2.errors.DeadlockDetected):
    """As the driver raises it."""

    pgcode = "40P01"


@pytest.mark.parametrize(
    ("error", "in_the_end"),
    [
        (KeyError("no such key"), Park),
        (MemoryError(), Park),
        (OperationalError("UPDATE", {}, Deadlock("deadlock detected")), Park),
        (DataError("INSERT", {}, ValueError("no such value")), Reject),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
async def test_whatever_goes_wrong_with_a_fact_the_others_are_folded(
    broker: JetStream, desk: JobUseCases, database_url: str, error: Exception, in_the_end: type[Verdict]
) -> None:
    (job, call), (other, others) = desk.generate(), desk.generate()
    bad = message(images_generated(job, call))
    database = Database(database_url, application="test", pool_size=2, queue_timeout_seconds=PATIENCE)
    consumer = Stumbling(database, broker, OutboxRelay(database, broker), StageTimeouts())
    consumer.stumble(bad, error)
    first, second = await consumer.handle([bad, message(images_generated(other, others))])
    worn = message(images_generated(job, call), delivered=1000)
    consumer.stumble(worn, error)
    [last] = await consumer.handle([worn])
    await database.close()

    assert isinstance(first, Retry)
    assert (second, desk.job(other.id).state) == (Ack(), State.UPLOADING)
    assert type(last) is in_the_end


@pytest.mark.parametrize("seconds", [float("nan"), -1.0])
async def test_a_wait_that_is_no_time_is_no_wait(consumer: FactConsumer, desk: JobUseCases, seconds: float) -> None:
    job, call = desk.generate()
    told = images_generated(job, call).images_generated.fence
    failure = error_pb2.Failure(
        stage=error_pb2.STAGE_GENERATING,
        code=error_pb2.CODE_TEMPORARY,
        reason=error_pb2.REASON_PROVIDER_UNAVAILABLE,
        message="It was away.",
        retryable=True,
        retry_after_seconds=seconds,
    )
    fact = fact_pb2.Fact(stage_failed=fact_pb2.StageFailed(fence=told, failure=failure))

    assert await consumer.handle([message(fact)]) == [Ack()]
    assert desk.job(job.id).state is State.QUEUED
    [attempt] = desk.sql("SELECT failure ->> 'retry_after_seconds' AS wait FROM attempts")
    assert attempt.wait is None


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_facts_say_each_has_its_verdict_and_a_good_one_beside_them_is_folded(
    consumer: FactConsumer, desk: JobUseCases, seed: int
) -> None:
    dice = random.Random(seed)
    about = [desk.generate(provider=dice.choice(["paid", "procedural"]), n=dice.choice([1, 2, 3])) for _ in range(3)]
    about.append(desk.generate(provider="paid"))
    desk.apply(generated(*about[-1]))
    desk.claim_uploads()
    for _ in range(15):
        about = [(desk.job(job.id), call) for job, call in about]
        made = desk.create().job
        # Wild facts may have put others back, which are claimed, too: first, and alone, what is to be fetched.
        claimed = [*desk.claim(16), *desk.claim(16)]
        [job] = [one.job for one in claimed if one.job.id == made.id]
        call = desk.begin(job)
        told = [message(wild_fact(dice, about), delivered=dice.choice([1, 1000])) for _ in range(dice.choice([1, 3]))]
        verdicts_ = await consumer.handle([*told, message(images_generated(job, call))])

        assert (len(verdicts_), verdicts_[-1]) == (len(told) + 1, Ack())
        assert desk.job(job.id).state is State.UPLOADING
        # Nobody locks anything here, so what is not folded is refused by the database: nothing breaks.
        assert not [one for one in verdicts_ if isinstance(one, Park)]


async def test_headers_that_no_header_can_bear_end_nothing(
    broker: JetStream, consumer: FactConsumer, desk: JobUseCases
) -> None:
    job, call = desk.generate()
    await broker.publish(SUBJECT, b"\xff\xff\xff", message_id="odd", headers={"ce-type": "größer"})
    await publish(broker, [images_generated(job, call)])
    async with running(consumer):
        await until_stored(broker, streams.DEAD_LETTERS["name"], 1)
        await until_stored(broker, streams.FACTS["name"], 0)

    assert desk.job(job.id).state is State.UPLOADING
