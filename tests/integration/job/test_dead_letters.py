"""Dead letters: seen with their reason, replayed as they were, forgotten once the broker has them again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype import streams
from calotype.ops.v1 import dead_letter_service_pb2 as dead
from calotype.ops.v1 import dead_letter_service_pb2_grpc

from common.consuming import PARKED_REASON, PARKED_SUBJECT
from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.jetstream import JetStream
from common.postgres import Database
from services.job.dead_letters import DeadLetters
from services.job.grpc_api.dead_letter_service import DeadLetterService
from services.job.store import idempotency
from tests.support.brokers.facts import broker_at
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import Server

SUBJECT = f"{streams.FACT_GENERATION}.images_generated"


@pytest.fixture
async def broker(nats: Server) -> AsyncIterator[JetStream]:
    """A broker of the test's own, with all streams."""
    async with broker_at(nats.url) as broker:
        yield broker


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """What keeps keys."""
    opened = Database(database_url, application="test", pool_size=2)
    yield opened
    await opened.close()


@pytest.fixture
async def service(broker: JetStream, database: Database) -> AsyncIterator[Any]:
    """The service over the wire."""
    served = DeadLetterService(DeadLetters(broker, database)).grpc_service()
    async with serve("127.0.0.1:0", [served], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        yield dead_letter_service_pb2_grpc.DeadLetterServiceStub(opened)


async def bury(broker: JetStream, number: int, *, subject: str = SUBJECT) -> None:
    """A message that the consumer refused."""
    headers = {
        "ce-type": "calotype.fact.images_generated",
        "ce-subject": f"job_{number}",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Calotype-Dead-Reason": f"reason {number}",
        "Calotype-Dead-Subject": subject,
    }
    await broker.publish(
        f"{streams.DEAD}.fact", f"body {number}".encode(), message_id=f"dead-{number}", headers=headers
    )


async def test_what_is_parked_is_shown_apart_with_its_reason(broker: JetStream, service: Any) -> None:
    await bury(broker, 1)
    headers = {PARKED_REASON: "no version knows it", PARKED_SUBJECT: SUBJECT, "ce-subject": "job_2"}
    await broker.publish(streams.PARKED_FACT, b"body", message_id="parked", headers=headers)
    [parked] = (await page(service, parked=True)).dead_letters
    [buried] = (await page(service)).dead_letters

    assert (parked.reason, parked.subject, parked.job_id) == ("no version knows it", SUBJECT, "job_2")
    assert buried.job_id == "job_1"


async def test_the_id_of_a_parked_fact_replays_no_dead_letter_of_that_number(broker: JetStream, service: Any) -> None:
    await bury(broker, 1)
    await broker.publish(streams.PARKED_FACT, b"body", message_id="parked", headers={PARKED_SUBJECT: SUBJECT})
    [parked] = (await page(service, parked=True)).dead_letters
    with pytest.raises(ServiceError) as refused:
        await replay(service, parked.id)

    assert refused.value.reason == "NOT_FOUND"
    assert len((await page(service)).dead_letters) == 1


async def test_a_negative_page_size_is_refused(service: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        await page(service, page_size=-1)

    assert refused.value.reason == "INVALID_INPUT"


async def test_a_reason_in_any_letters_is_shown_with_all_the_others(broker: JetStream, service: Any) -> None:
    await bury(broker, 1)
    # As an older version wrote it: the database's words, in bytes of UTF-8.
    headers = {"Calotype-Dead-Reason": "приговор \u00fc", "Calotype-Dead-Subject": SUBJECT}
    await broker.publish(f"{streams.DEAD}.fact", b"body", message_id="dead-2", headers=headers)
    first, second = (await page(service)).dead_letters

    assert first.reason == "reason 1"
    assert second.subject == SUBJECT
    assert second.reason


async def page(service: Any, **asked: Any) -> dead.ListDeadLettersResponse:
    """A page of letters."""
    return await call(service.ListDeadLetters, dead.ListDeadLettersRequest(**asked), timeout=PATIENCE)


async def replay(service: Any, letter_id: str, key: str = "") -> bool:
    """Replay one; whether the key had done so before."""
    asked = dead.ReplayDeadLetterRequest(id=letter_id, idempotency_key=key)
    answer: dead.ReplayDeadLetterResponse = await call(service.ReplayDeadLetter, asked, timeout=PATIENCE)
    return answer.replayed


async def test_letters_come_in_pages_the_oldest_first(broker: JetStream, service: Any) -> None:
    for number in range(5):
        await bury(broker, number)
    first = await page(service, page_size=3)
    second = await page(service, page_size=3, page_token=first.next_page_token)

    assert [one.reason for one in first.dead_letters] == ["reason 0", "reason 1", "reason 2"]
    assert [one.reason for one in second.dead_letters] == ["reason 3", "reason 4"]
    assert second.next_page_token == ""
    letter = first.dead_letters[0]
    assert (letter.subject, letter.type, letter.job_id) == (SUBJECT, "calotype.fact.images_generated", "job_0")
    assert (letter.size_bytes, len(letter.sha256)) == (6, 64)
    assert letter.died_at.seconds > 0


async def test_nothing_dead_is_an_empty_page(service: Any) -> None:
    assert await page(service) == dead.ListDeadLettersResponse()


async def test_a_replay_publishes_the_message_as_it_was_and_forgets_the_letter(broker: JetStream, service: Any) -> None:
    for number in range(2):
        await bury(broker, number)
    letters = (await page(service)).dead_letters
    await replay(service, letters[0].id)

    again = await broker.stored(streams.FACTS["name"], 1, subject="calotype.fact.>")
    assert again is not None
    assert again.body == b"body 0"
    assert again.headers["ce-subject"] == "job_0"
    assert again.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
    assert not any(name.startswith("Calotype-Dead-") for name in again.headers)
    assert [one.id for one in (await page(service)).dead_letters] == [letters[1].id]


async def test_a_letter_that_two_replay_at_once_is_published_once(broker: JetStream, service: Any) -> None:
    await bury(broker, 0)
    [letter] = (await page(service)).dead_letters
    results = await asyncio.gather(*(replay(service, letter.id) for _ in range(2)), return_exceptions=True)

    assert all(one is False or (isinstance(one, ServiceError) and one.reason == "NOT_FOUND") for one in results)
    assert (await broker.context.stream_info(streams.FACTS["name"])).state.messages == 1


async def test_a_key_gives_the_same_answer_again_for_its_own_letter_alone(broker: JetStream, service: Any) -> None:
    for number in range(2):
        await bury(broker, number)
    first, second = (await page(service)).dead_letters
    told = [await replay(service, first.id, "k") for _ in range(2)]
    for letter, key in ((first, "other"), (first, "")):
        with pytest.raises(ServiceError, match="NOT_FOUND"):
            await replay(service, letter.id, key)

    assert told == [False, True]
    assert await replay(service, second.id, "k") is False
    assert (await broker.context.stream_info(streams.FACTS["name"])).state.messages == 2


async def test_a_key_that_was_written_down_by_a_process_that_died_then_sends_the_letter_on(
    broker: JetStream, database: Database, service: Any
) -> None:
    await bury(broker, 0)
    [letter] = (await page(service)).dead_letters
    key = idempotency.Key(tenant="", scope=f"dead/{letter.id}/replay", key="k")
    await database.run(lambda connection: idempotency.assign(connection, key, fingerprint="", job_id="job_0"))

    assert [await replay(service, letter.id, "k") for _ in range(2)] == [False, True]
    assert (await broker.context.stream_info(streams.FACTS["name"])).state.messages == 1


@pytest.mark.parametrize(
    ("letter_id", "reason"),
    [("999", "NOT_FOUND"), ("x", "INVALID_INPUT"), ("0", "INVALID_INPUT"), ("9" * 40, "INVALID_INPUT")],
)
async def test_what_is_not_there_is_not_replayed(service: Any, letter_id: str, reason: str) -> None:
    with pytest.raises(ServiceError) as refused:
        await replay(service, letter_id)
    assert refused.value.reason == reason


async def test_a_message_of_elsewhere_is_not_replayed(broker: JetStream, service: Any) -> None:
    await bury(broker, 0, subject="calotype.wake.generate")
    [letter] = (await page(service)).dead_letters
    with pytest.raises(ServiceError) as refused:
        await replay(service, letter.id)

    assert refused.value.reason == "NOT_FOUND"
    assert len((await page(service)).dead_letters) == 1


async def test_a_broker_that_is_away_is_told_as_such(nats: Server, broker: JetStream, service: Any) -> None:
    await asyncio.to_thread(nats.child.stop, 5)
    with pytest.raises(ServiceError) as away:
        await page(service)
    assert away.value.reason == "SERVICE_UNAVAILABLE"
