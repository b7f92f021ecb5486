"""What the generator tells, on a real broker: each fact on its subject, once, whole, readable by job-service."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from nats.aio.msg import Msg

from common.jetstream import BrokerUnavailable, JetStream
from common.pulling import ConsumerSpec, Subscription
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.domain import failures
from services.generator.domain.outcomes import (
    Acceptance,
    CancelOutcome,
    Operation,
    ProviderError,
    StageError,
    VendorError,
)
from services.generator.domain.work import Phase
from services.generator.ports import Deletion, Outcome, Settlement
from tests.support.generation import call_of, job_of, provider_error, staged
from tests.support.messages import broker_at
from tests.support.patience import PATIENCE
from tests.support.servers import Server

FACTS = ConsumerSpec(stream=streams.FACTS["name"], durable="test", subject="calotype.fact.*.*")
ID = "01890000-0000-7000-8000-000000000001"
FENCE = fact_pb2.Fence(job_id="job_1", claim_number=1, lease_token="token")


@pytest.fixture
async def broker(nats: Server) -> AsyncIterator[JetStream]:
    """A connection with all streams declared."""
    async with broker_at(nats.url) as opened:
        yield opened


@pytest.fixture
def facts(broker: JetStream) -> NatsFacts:
    """The generator's mouth."""
    return NatsFacts(broker)


async def next_message(broker: JetStream) -> Msg:
    """The first message in the stream of facts."""
    subscription = Subscription(broker, FACTS)
    async with asyncio.timeout(PATIENCE):
        while not (found := await subscription.fetch(1, wait_seconds=1.0)):
            pass
    await subscription.close()
    return found[0]


async def next_fact(broker: JetStream) -> fact_pb2.Fact:
    """What it says."""
    return fact_pb2.Fact.FromString((await next_message(broker)).data)


async def test_a_fact_is_an_event_on_the_subject_of_its_kind(broker: JetStream, facts: NatsFacts) -> None:
    await facts.images_generated(ID, job=job_of(), calls=(), images=())
    message = await next_message(broker)

    headers = message.headers or {}
    assert message.subject == f"{streams.FACT_GENERATION}.images_generated"
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == fact_pb2.Fact.FromString(message.data).id == ID
    assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "calotype.fact.images_generated")
    assert (headers["ce-source"], headers["ce-subject"]) == ("calotype/generator", "job_1")
    assert headers["content-type"] == "application/protobuf"


async def test_a_fact_that_is_told_twice_under_one_id_is_there_once(broker: JetStream, facts: NatsFacts) -> None:
    for _ in range(2):
        await facts.images_generated(ID, job=job_of(), calls=(), images=())

    assert (await broker.context.stream_info(FACTS.stream)).state.messages == 1


async def test_images_are_told_with_all_that_is_known_of_them(broker: JetStream, facts: NatsFacts) -> None:
    image = replace(staged(1), seed=0, revised_prompt="größer", c2pa=True, width=4, height=3)
    outcome = Outcome(call_id="call_old", phase=Phase.SUCCEEDED, operation_id="op", cost_micros=0)
    await facts.images_generated(ID, job=job_of(), calls=(outcome,), images=(image,))
    told = (await next_fact(broker)).images_generated

    [call], [made] = told.calls, told.images
    assert told.fence == FENCE
    assert (call.call_id, call.phase, call.operation_id) == ("call_old", job_pb2.CALL_PHASE_SUCCEEDED, "op")
    # Free is not unknown.
    assert (call.HasField("cost_micros"), call.cost_micros, call.HasField("error")) == (True, 0, False)
    assert (made.index, made.staged.name, made.staged.call_id) == (1, "job_1/call_old/1", "call_old")
    assert (made.width, made.height, made.size_bytes, made.sha256) == (4, 3, 4, "0" * 64)
    assert (made.HasField("seed"), made.seed, made.revised_prompt, made.provenance.c2pa) == (True, 0, "größer", True)


async def test_what_is_not_known_is_left_out(broker: JetStream, facts: NatsFacts) -> None:
    outcome = Outcome(call_id="call_old", phase=Phase.UNKNOWN)
    await facts.ledger_settled(ID, job=job_of(), calls=(outcome,), images=(staged(0),))
    told = (await next_fact(broker)).ledger_settled

    assert told.job_id == "job_1"
    assert not told.calls[0].HasField("cost_micros")
    assert not told.images[0].HasField("seed")
    assert not told.images[0].HasField("revised_prompt")


@pytest.mark.parametrize(
    ("acceptance", "is_over"),
    [(None, None), (Acceptance.UNKNOWN, False), (Acceptance.ACCEPTED, True), (Acceptance.NOT_ACCEPTED, True)],
)
async def test_whether_the_provider_may_be_at_it_still_is_told_with_its_error(
    broker: JetStream, facts: NatsFacts, acceptance: Acceptance | None, is_over: bool | None
) -> None:
    error = provider_error(acceptance) if acceptance else None
    outcome = Outcome(call_id="call_old", phase=Phase.FAILED, error=error)
    await facts.ledger_settled(ID, job=job_of(), calls=(outcome,), images=())
    [told] = (await next_fact(broker)).ledger_settled.calls

    assert (told.is_over if told.HasField("is_over") else None) is is_over


@pytest.mark.parametrize("phase", Phase)
async def test_every_end_of_a_call_can_be_told(broker: JetStream, facts: NatsFacts, phase: Phase) -> None:
    await facts.ledger_settled(ID, job=job_of(), calls=(Outcome(call_id="c", phase=phase),), images=())
    told = (await next_fact(broker)).ledger_settled.calls[0].phase

    assert job_pb2.CallPhase.Name(told) == f"CALL_PHASE_{phase.name}"


async def test_a_failure_is_told_with_its_stage_cause_and_the_vendors_words(
    broker: JetStream, facts: NatsFacts
) -> None:
    error = ProviderError(
        code="RATE_LIMIT",
        reason="PROVIDER_RATE_LIMIT",
        message="Slow down.",
        retryable=True,
        retry_after_seconds=30,
        acceptance=Acceptance.NOT_ACCEPTED,
        vendor=VendorError(http_status=429, code="throttled", message="resets in ~30s", request_id="r1"),
    )
    outcome = Outcome(call_id="call_1", phase=Phase.NOT_SENT, error=error)
    await facts.stage_failed(ID, job=job_of(), error=error, calls=(outcome,), images=(staged(0),))
    told = (await next_fact(broker)).stage_failed

    assert told.fence == FENCE
    assert (told.failure.stage, told.failure.code) == (error_pb2.STAGE_GENERATING, error_pb2.CODE_RATE_LIMIT)
    assert (told.failure.reason, told.failure.message) == (error_pb2.REASON_PROVIDER_RATE_LIMIT, "Slow down.")
    assert (told.failure.retryable, told.failure.retry_after_seconds, told.deferred) == (True, 30, False)
    assert (told.calls[0].code, told.calls[0].reason) == (told.failure.code, told.failure.reason)
    words = told.calls[0].error
    assert (words.http_status, words.code, words.message, words.request_id) == (
        429,
        "throttled",
        "resets in ~30s",
        "r1",
    )
    assert [image.index for image in told.images] == [0]


@pytest.mark.parametrize(
    "error",
    [
        failures.provider_not_configured("x"),
        failures.ask_refused(),
        failures.input_unavailable(),
        failures.inputs_too_large(1),
        failures.ambiguous("x"),
        failures.stage_too_long(is_generating=True),
        failures.result_lost("x"),
        failures.asked_too_slowly(),
        failures.no_answer("x"),
        failures.too_slow("x"),
        failures.too_few("x"),
        failures.storage_away(),
        failures.staging_differs(),
        failures.storage_denied(),
        failures.defect(),
    ],
    ids=lambda error: error.reason,
)
async def test_every_failure_of_the_generator_is_in_the_catalogue(
    broker: JetStream, facts: NatsFacts, error: StageError
) -> None:
    await facts.stage_failed(ID, job=job_of(), error=error, calls=(), images=())
    told = (await next_fact(broker)).stage_failed.failure

    assert error_pb2.Reason.Name(told.reason) == f"REASON_{error.reason}"
    assert not told.HasField("retry_after_seconds")


async def test_an_operation_is_told_with_what_it_takes_to_follow_it(broker: JetStream, facts: NatsFacts) -> None:
    operation = Operation(id="op", state={"get": "http://x"})
    await facts.call_accepted(ID, job=job_of(), call=call_of(Phase.INTENDED), operation=operation)
    told = (await next_fact(broker)).provider_call_accepted

    assert (told.job_id, told.call_id, told.operation_id) == ("job_1", "call_old", "op")
    assert dict(told.operation_state) == {"get": "http://x"}


@pytest.mark.parametrize(
    ("cancel", "expected"),
    [
        (None, job_pb2.PROVIDER_CANCEL_UNSPECIFIED),
        (CancelOutcome.CONFIRMED, job_pb2.PROVIDER_CANCEL_CONFIRMED),
        (CancelOutcome.UNSUPPORTED, job_pb2.PROVIDER_CANCEL_UNSUPPORTED),
        (CancelOutcome.TOO_LATE, job_pb2.PROVIDER_CANCEL_TOO_LATE),
    ],
)
async def test_a_settled_call_is_told_with_what_became_of_the_wish_to_cancel(
    broker: JetStream, facts: NatsFacts, cancel: CancelOutcome | None, expected: int
) -> None:
    settlement = Settlement(
        call=call_of(Phase.ACCEPTED),
        job_id="job_1",
        lease_token="s",
        lease_seconds=3,
        cancel=cancel is not None,
        traceparent="",
        seconds_left=60,
    )
    outcome = Outcome(call_id="call_old", phase=Phase.CANCELED)
    await facts.call_settled(ID, settlement=settlement, outcome=outcome, cancel=cancel)
    told = (await next_fact(broker)).call_settled

    assert (told.job_id, told.lease_token, told.call.call_id) == ("job_1", "s", "call_old")
    assert told.provider_cancel == expected


async def test_an_emptied_folder_is_told(broker: JetStream, facts: NatsFacts) -> None:
    await facts.objects_deleted(ID, deletion=Deletion(id="del_1", prefix="job_1/", lease_token="t"), count=3)
    told = (await next_fact(broker)).objects_deleted

    assert (told.deletion_id, told.count, told.lease_token) == ("del_1", 3, "t")


async def test_progress_is_heard_by_those_who_listen_and_kept_nowhere(broker: JetStream, facts: NatsFacts) -> None:
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def hear(subject: str, body: bytes) -> None:
        await heard.put((subject, body))

    await broker.subscribe_core("calotype.progress.>", hear)
    await facts.progress(job_of(), percent=42.5)
    async with asyncio.timeout(PATIENCE):
        subject, body = await heard.get()

    assert subject == streams.progress_subject(tenant="acme", job_id="job_1")
    assert job_service_pb2.Progress.FromString(body).percent == pytest.approx(42.5)
    assert (await broker.context.stream_info(FACTS.stream)).state.messages == 0


async def test_a_fact_that_cannot_be_kept_is_an_error_and_progress_is_not(
    nats: Server, broker: JetStream, facts: NatsFacts
) -> None:
    await asyncio.to_thread(nats.child.kill)
    with pytest.raises(BrokerUnavailable):
        await facts.images_generated(ID, job=job_of(), calls=(), images=())

    await facts.progress(job_of(), percent=1)
