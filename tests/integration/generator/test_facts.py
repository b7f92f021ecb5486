"""What the generator tells, on a real broker: each fact on its subject, once, whole, readable by job-service."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.error_reasons import Code, Reason
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from nats.aio.msg import Msg

from cli.stack.child import Child
from common.declarations import ConsumerSpec
from common.jetstream import BrokerUnavailable, JetStream
from common.pulling import Subscription
from services.generator.adapters.nats_facts import NatsFacts
from services.generator.domain import failures, untrusted_text
from services.generator.domain.jobs import CallPhase
from services.generator.domain.provider_results import (
    METADATA_REMOVED,
    Acceptance,
    CancelOutcome,
    Operation,
    ProviderError,
    StageError,
    VendorError,
)
from services.generator.domain.settlements import CallOutcome, Settlement
from tests.support.brokers.facts import broker_at
from tests.support.generator.fakes import call_of, job_of, provider_error, staged
from tests.support.patience import PATIENCE
from tests.support.servers.embedded_servers import Server, nats_program
from tests.support.servers.reaper import reaped

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


async def fetched(subscription: Subscription) -> list[Msg]:
    """The next message of a subscription."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await subscription.fetch(1, wait_seconds=1.0)):
            pass
    return found


async def next_message(broker: JetStream) -> Msg:
    """The first message in the stream of facts."""
    subscription = Subscription(broker, FACTS)
    [found] = await fetched(subscription)
    await subscription.close()
    return found


async def next_fact(broker: JetStream) -> fact_pb2.Fact:
    """What it says."""
    return fact_pb2.Fact.FromString((await next_message(broker)).data)


async def test_a_fact_is_an_event_on_the_subject_of_its_kind(broker: JetStream, facts: NatsFacts) -> None:
    await facts.images_generated(ID, job=job_of(), calls=(), images=(), warnings=())
    message = await next_message(broker)

    headers = message.headers or {}
    assert message.subject == f"{streams.FACT_GENERATION}.images_generated"
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == fact_pb2.Fact.FromString(message.data).id == ID
    assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "calotype.fact.images_generated")
    assert (headers["ce-source"], headers["ce-subject"]) == ("calotype/generator", "job_1")
    assert headers["content-type"] == "application/protobuf"


async def test_a_fact_that_is_told_twice_under_one_id_is_there_once(broker: JetStream, facts: NatsFacts) -> None:
    for _ in range(2):
        await facts.images_generated(ID, job=job_of(), calls=(), images=(), warnings=())

    assert (await broker.context.stream_info(FACTS.stream)).state.messages == 1


async def test_images_are_told_with_all_that_is_known_of_them(broker: JetStream, facts: NatsFacts) -> None:
    image = replace(staged(1), seed=0, revised_prompt="größer", c2pa=True, width=4, height=3)
    outcome = CallOutcome(call_id="call_old", phase=CallPhase.SUCCEEDED, operation_id="op", cost_micros=0, token=b"t")
    await facts.images_generated(ID, job=job_of(), calls=(outcome,), images=(image,), warnings=(METADATA_REMOVED,))
    told = (await next_fact(broker)).images_generated

    [call], [made], [warning] = told.calls, told.images, told.warnings
    assert warning.reason == error_pb2.REASON_METADATA_REMOVED
    assert told.fence == FENCE
    assert (call.call_id, call.phase, call.operation_id) == ("call_old", job_pb2.CALL_PHASE_SUCCEEDED, "op")
    assert call.call_token == b"t"
    # Free is not unknown.
    assert (call.HasField("cost_micros"), call.cost_micros, call.HasField("error")) == (True, 0, False)
    assert (made.index, made.staged.name, made.staged.call_id) == (1, "job_1/call_old/1", "call_old")
    assert (made.width, made.height, made.size_bytes, made.sha256) == (4, 3, 4, "0" * 64)
    assert (made.HasField("seed"), made.seed, made.revised_prompt, made.provenance.c2pa) == (True, 0, "größer", True)


async def test_what_is_not_known_is_left_out(broker: JetStream, facts: NatsFacts) -> None:
    outcome = CallOutcome(call_id="call_old", phase=CallPhase.UNKNOWN)
    await facts.ledger_settled(ID, job=job_of(), calls=(outcome,), images=(staged(0),))
    told = (await next_fact(broker)).ledger_settled

    assert (told.job_id, told.fence) == ("job_1", FENCE)
    assert (told.calls[0].HasField("cost_micros"), told.calls[0].call_token) == (False, b"")
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
    outcome = CallOutcome(call_id="call_old", phase=CallPhase.FAILED, error=error)
    await facts.ledger_settled(ID, job=job_of(), calls=(outcome,), images=())
    [told] = (await next_fact(broker)).ledger_settled.calls

    assert (told.is_over if told.HasField("is_over") else None) is is_over


@pytest.mark.parametrize("phase", CallPhase)
async def test_every_end_of_a_call_can_be_told(broker: JetStream, facts: NatsFacts, phase: CallPhase) -> None:
    await facts.ledger_settled(ID, job=job_of(), calls=(CallOutcome(call_id="c", phase=phase),), images=())
    told = (await next_fact(broker)).ledger_settled.calls[0].phase

    assert job_pb2.CallPhase.Name(told) == f"CALL_PHASE_{phase.name}"


async def test_a_failure_is_told_with_its_stage_cause_and_the_vendors_words(
    broker: JetStream, facts: NatsFacts
) -> None:
    error = ProviderError(
        code=Code.RATE_LIMIT,
        reason=Reason.PROVIDER_RATE_LIMIT,
        message="Slow down.",
        retryable=True,
        retry_after_seconds=30,
        acceptance=Acceptance.NOT_ACCEPTED,
        vendor=VendorError(http_status=429, code="throttled", message="resets in ~30s", request_id="r1"),
    )
    outcome = CallOutcome(call_id="call_1", phase=CallPhase.NOT_SENT, error=error)
    await facts.stage_failed(ID, job=job_of(), error=error, calls=(outcome,), images=(staged(0),))
    told = (await next_fact(broker)).stage_failed

    assert told.fence == FENCE
    assert (told.failure.stage, told.failure.code) == (error_pb2.STAGE_GENERATING, error_pb2.CODE_RATE_LIMIT)
    assert (told.failure.reason, told.failure.message) == (error_pb2.REASON_PROVIDER_RATE_LIMIT, "Slow down.")
    assert (told.failure.retryable, told.failure.retry_after_seconds, told.deferred) == (True, 30, False)
    assert (told.calls[0].code, told.calls[0].reason) == (told.failure.code, told.failure.reason)
    said = told.calls[0].error
    assert (said.http_status, said.code, said.message, said.request_id) == (
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
        failures.call_refused(),
        failures.input_unavailable(),
        failures.inputs_too_large(1),
        failures.ambiguous("x"),
        failures.stage_too_long(is_generating=True),
        failures.result_lost("x"),
        failures.permission_too_late(),
        failures.no_response("x"),
        failures.operation_too_slow("x"),
        failures.too_few_images("x"),
        failures.storage_unavailable(),
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


async def test_a_vendors_endless_words_are_cut_and_the_fact_is_told(broker: JetStream, facts: NatsFacts) -> None:
    endless = "wörter\0 " * 200_000
    images = [replace(staged(index), revised_prompt=endless) for index in range(10)]
    vendor = VendorError(http_status=400, code=endless, message=endless, request_id=endless)
    error = provider_error(Acceptance.ACCEPTED, vendor=vendor, message=endless)
    calls = [
        CallOutcome(call_id=f"call_{n}", phase=CallPhase.FAILED, operation_id=endless, error=error) for n in range(10)
    ]
    await facts.stage_failed(ID, job=job_of(n=10), error=error, calls=calls, images=images)
    told = (await next_fact(broker)).stage_failed

    assert [one.staged.name for one in told.images] == [image.name for image in images]
    assert [(one.call_id, one.phase) for one in told.calls] == [
        (one.call_id, job_pb2.CALL_PHASE_FAILED) for one in calls
    ]
    # Half a name of an operation is worth nothing.
    assert {one.operation_id for one in told.calls} == {""}
    [first, *_], [call, *_] = told.images, told.calls
    passed_on = (first.revised_prompt, told.failure.message, call.error.code, call.error.message, call.error.request_id)
    assert all(one.startswith("wörter\ufffd wör") and one.endswith(untrusted_text.CUT) for one in passed_on)


@pytest.fixture
async def narrow_broker(tmp_path: Path) -> AsyncIterator[JetStream]:
    """A broker that takes less than others in one message."""
    program, url = nats_program(tmp_path / "data", log=tmp_path / "log")
    with (tmp_path / "data" / "nats.conf").open("a") as configuration:
        configuration.write("max_payload: 16KB\n")
    child = Child(program)
    child.start()
    with reaped(child.pid):
        await asyncio.to_thread(child.wait_ready, PATIENCE)
        async with broker_at(url) as opened:
            yield opened
        await asyncio.to_thread(child.stop, PATIENCE)


async def test_a_fact_that_is_still_too_large_for_the_broker_loses_words_and_nothing_else(
    narrow_broker: JetStream,
) -> None:
    facts, endless = NatsFacts(narrow_broker), "words " * 10_000
    images = [replace(staged(index), revised_prompt=endless) for index in range(10)]
    await facts.images_generated(ID, job=job_of(n=10), calls=(), images=images, warnings=())
    operation = Operation(id="op", state={"get": endless})
    await facts.call_accepted(f"{ID}2", job=job_of(), call=call_of(CallPhase.INTENDED), operation=operation)
    subscription = Subscription(narrow_broker, FACTS)
    told = [fact_pb2.Fact.FromString(one.data) for one in [*await fetched(subscription), *await fetched(subscription)]]
    await subscription.close()

    assert [one.staged.name for one in told[0].images_generated.images] == [image.name for image in images]
    assert told[0].images_generated.images[9].revised_prompt.endswith(untrusted_text.CUT)
    assert told[1].provider_call_accepted.operation_id == "op"


async def test_an_operation_is_told_with_what_it_takes_to_follow_it(broker: JetStream, facts: NatsFacts) -> None:
    operation = Operation(id="op", state={"get": "http://x"})
    call = replace(call_of(CallPhase.INTENDED), token=b"t")
    await facts.call_accepted(ID, job=job_of(), call=call, operation=operation)
    told = (await next_fact(broker)).provider_call_accepted

    assert (told.job_id, told.call_id, told.operation_id) == ("job_1", "call_old", "op")
    assert (told.call_token, told.fence) == (b"t", FENCE)
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
        call=replace(call_of(CallPhase.ACCEPTED), token=b"t"),
        job_id="job_1",
        lease_token="s",
        lease_seconds=3,
        cancel=cancel is not None,
        traceparent="",
        seconds_left=60,
    )
    outcome = CallOutcome(call_id="call_old", phase=CallPhase.CANCELED)
    await facts.call_settled(ID, settlement=settlement, outcome=outcome, cancel=cancel, images=[staged(0)])
    told = (await next_fact(broker)).call_settled

    assert (told.job_id, told.lease_token, told.call.call_id) == ("job_1", "s", "call_old")
    assert told.call.call_token == b"t"
    assert told.provider_cancel == expected
    assert [image.index for image in told.images] == [0]


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
        await facts.images_generated(ID, job=job_of(), calls=(), images=(), warnings=())

    await facts.progress(job_of(), percent=1)
