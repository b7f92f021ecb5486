"""generator-service as a process: from claim to fact, whatever goes away meanwhile, and nothing bought twice."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.aio.msg import Msg
from PIL import Image

from cli.stack.child import Child
from cli.stack.ports import free_port
from common.jetstream import JetStream, StreamSpec, connect
from common.object_store import ObjectStore
from common.pulling import ConsumerSpec, Subscription
from tests.support.generating import PROVIDERS, SECONDS, TRACE_ID, FakeWorkerService, generator, worker_service
from tests.support.paid_provider import Books, paid_provider
from tests.support.servers import Server
from tests.support.storage_proxy import StorageProxy, storage_proxy

JOB = "job_01890000000070008000000000000001"
OTHER = "job_01890000000070008000000000000002"
FACTS = ConsumerSpec(stream=streams.FACTS["name"], durable="test-facts", subject="calotype.fact.*.*")
CLAIM, RENEW = worker.ClaimJobsRequest, worker.RenewLeasesRequest
BEGIN, RELEASE = worker.BeginProviderCallRequest, worker.ReleaseJobRequest


@dataclass(kw_only=True)
class World:
    """All that a generator talks to, and the generators that were started."""

    desk: FakeWorkerService
    books: Books
    proxy: StorageProxy
    nats: Server
    broker: JetStream
    staging: ObjectStore
    folder: Path
    children: list[Child] = field(default_factory=list)
    listens: str = ""

    def __post_init__(self) -> None:
        self._facts = Subscription(self.broker, FACTS)
        self.messages: list[Msg] = []

    def start(self, **settings: str) -> Child:
        """One more generator."""
        self.listens = f"127.0.0.1:{free_port()}"
        providers = self.folder / "providers.yaml"
        providers.write_text(PROVIDERS.format(url=self.books.url), encoding="utf-8")
        told = {
            "WORKER_ADDRESS": self.desk.address,
            "NATS_URL": self.nats.url,
            "STAGING_BUCKET": self.proxy.staging,
            "PROVIDERS_FILE": str(providers),
            "GRPC_LISTEN": self.listens,
            "GENERATOR_SLOTS": "4",
            "LEASE_SECONDS": "3000",
            "GRACE_SECONDS": "20",
            "LOG_FORMAT": "text",
        }
        url = self.proxy.doors["generator"]
        child = generator(self.folder, told | settings, storage_url=url, number=len(self.children))
        child.start()
        self.children.append(child)
        return child

    async def next_fact(self) -> fact_pb2.Fact:
        """The next fact in the stream, taken into the ledger; its message is the last of `messages`."""
        async with asyncio.timeout(SECONDS):
            while not (found := await self._facts.fetch(1, wait_seconds=1.0)):
                pass
        self.messages += found
        await found[0].ack_sync()
        fact = fact_pb2.Fact.FromString(found[0].data)
        self.desk.fold(fact)
        return fact

    async def progress_of(self, job_id: str) -> asyncio.Queue[bytes]:
        """What is told of a job's progress from now on."""
        told: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(subject: str, body: bytes) -> None:
            await told.put(body)

        await self.broker.subscribe_core(streams.progress_subject(tenant="acme", job_id=job_id), hear)
        return told

    async def facts_left(self) -> int:
        """Facts that nobody has read."""
        return int((await self.broker.context.stream_info(FACTS.stream)).state.messages)


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running


@pytest.fixture
def books() -> Iterator[Books]:
    """The paid provider's books."""
    with paid_provider() as found:
        yield found
        found.answer_hanging()


@pytest.fixture
async def process(
    nats: Server, proxy: StorageProxy, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Everything but the generator."""
    async with AsyncExitStack() as stack:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.doors["generator"])
        staging = ObjectStore(proxy.staging, threads=2)
        stack.push_async_callback(staging.close)
        specs = [StreamSpec(**stream) for stream in streams.STREAMS]
        broker = await stack.enter_async_context(connect(nats.url, name="test", streams=specs))
        desk = await stack.enter_async_context(worker_service())
        world = World(desk=desk, books=books, proxy=proxy, nats=nats, broker=broker, staging=staging, folder=tmp_path)
        try:
            yield world
        finally:
            proxy.release()
            for child in world.children:
                child.kill()


async def stop(child: Child) -> int | None:
    """Ask a process to end, and wait; its exit status."""
    await asyncio.to_thread(child.stop, SECONDS)
    return child.exit_status


async def test_a_drawn_picture_lies_in_staging_and_the_fact_says_all_of_it(process: World) -> None:
    process.desk.add(JOB, n=2, size="96x64", seed=7)
    process.start()

    made = (await process.next_fact()).images_generated

    assert (made.fence.job_id, made.fence.claim_number) == (JOB, 1)
    assert process.desk.held == {made.fence.lease_token: JOB}
    assert {outcome.phase for outcome in made.calls} == {job_pb2.CALL_PHASE_SUCCEEDED}
    assert [outcome.cost_micros for outcome in made.calls] == [0, 0]
    assert [(image.index, image.seed) for image in made.images] == [(0, 7), (1, 8)]
    for image in made.images:
        data = await process.staging.get(image.staged.name)
        [there] = await process.staging.find(image.staged.name)
        assert image.staged.name == f"{JOB}/{image.staged.call_id}/{image.index}"
        assert Image.open(io.BytesIO(data)).size == (image.width, image.height) == (96, 64)
        assert (there.content_type, there.size) == (image.content_type, image.size_bytes) == ("image/png", len(data))
        assert {name: json.loads(there.metadata[name]) for name in ("index", "count", "sha256")} == {
            "index": image.index,
            "count": 1,
            "sha256": image.sha256,
        }


async def test_a_fact_is_an_event_of_the_jobs_one_trace(process: World) -> None:
    process.desk.add(JOB, size="64x64")
    process.start()

    fact = await process.next_fact()

    (message,) = process.messages
    headers = message.headers or {}
    assert message.subject == f"{streams.FACT_GENERATION}.images_generated"
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == fact.id
    assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "calotype.fact.images_generated")
    assert (headers["ce-source"], headers["ce-subject"]) == ("calotype/generator", JOB)
    assert headers["content-type"] == "application/protobuf"
    assert headers["traceparent"].split("-")[1] == TRACE_ID


async def test_its_providers_are_made_known(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.catalogue))
    drawn, paid = process.desk.catalogue

    assert (drawn.name, drawn.is_default, drawn.capabilities.free) == ("procedural", True, True)
    assert (paid.name, paid.is_default, paid.capabilities.resumable) == ("paid", False, True)
    assert (paid.default_model, paid.models[0].price_micros_per_image) == ("test/model", 40_000)


async def test_a_claim_whose_answer_was_lost_holds_its_job_all_the_same(process: World) -> None:
    process.desk.add(JOB, size="64x64")
    process.desk.lose_claims = 1
    process.start()

    fact = await process.next_fact()

    assert fact.images_generated.fence.claim_number == 1
    assert process.desk.claims == {JOB: 1}


async def test_a_wake_up_is_taken_from_the_broker_and_brings_a_claim(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(CLAIM)))
    await process.broker.publish(streams.WAKE_GENERATE, b"", message_id="wake-1", headers={})
    async with asyncio.timeout(SECONDS):
        while (await process.broker.context.stream_info(streams.WORK["name"])).state.messages:
            asked = len(process.desk.asked_for(CLAIM))
            await process.desk.until(lambda: len(process.desk.asked_for(CLAIM)) > asked)  # noqa: B023 - awaited here


async def test_progress_is_told_while_a_picture_is_drawn(process: World) -> None:
    told = await process.progress_of(JOB)
    process.desk.add(JOB, size="2048x2048")
    process.start()

    async with asyncio.timeout(SECONDS):
        progress = job_service_pb2.Progress.FromString(await told.get())
    assert 0 < progress.percent <= 100


async def test_an_operation_outlives_its_worker_and_is_bought_once(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="slow harbour")
    first = process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(worker.RecordOperationRequest)))
    await asyncio.to_thread(first.kill)
    process.desk.rescue(JOB)
    process.books.finish.set()
    process.start()

    made = (await process.next_fact()).images_generated

    assert (made.fence.claim_number, len(made.images)) == (2, 1)
    assert [(outcome.operation_id, outcome.cost_micros) for outcome in made.calls] == [("p0", 40_000)]
    assert process.books.count("slow harbour") == 1


async def test_an_operation_that_could_not_be_written_down_is_told_as_a_fact(process: World) -> None:
    process.desk.refuse["RecordOperation"] = grpc.StatusCode.UNAVAILABLE
    process.desk.add(JOB, provider="paid", prompt="good harbour")
    process.start()

    accepted = (await process.next_fact()).provider_call_accepted
    made = (await process.next_fact()).images_generated

    assert (accepted.job_id, accepted.operation_id) == (JOB, "p0")
    assert set(accepted.operation_state) >= {"get", "cancel"}
    assert [outcome.call_id for outcome in made.calls] == [accepted.call_id]


async def test_a_paid_call_whose_answer_died_with_its_worker_is_never_repeated(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="hangs")
    first = process.start()
    await asyncio.to_thread(process.books.wait_for_create, "hangs", seconds=SECONDS)
    await asyncio.to_thread(first.kill)
    process.desk.rescue(JOB)
    process.start()

    failed = (await process.next_fact()).stage_failed

    assert (failed.fence.claim_number, failed.failure.stage) == (2, error_pb2.STAGE_GENERATING)
    assert failed.failure.code == error_pb2.CODE_TIMEOUT
    assert failed.failure.reason == error_pb2.REASON_AMBIGUOUS_OUTCOME
    assert not failed.failure.retryable
    assert [outcome.phase for outcome in failed.calls] == [job_pb2.CALL_PHASE_UNKNOWN]
    assert process.books.count("hangs") == 1


async def test_images_that_a_killed_worker_staged_are_adopted(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="good harbour")
    first = process.start()
    made = (await process.next_fact()).images_generated
    await asyncio.to_thread(first.kill)
    # As if the fact had not come, and the acceptance had not been written down.
    [call] = process.desk.calls.values()
    call.phase, call.operation_id = job_pb2.CALL_PHASE_INTENDED, ""
    process.desk.rescue(JOB)
    process.start()

    again = (await process.next_fact()).images_generated

    assert again.fence.claim_number == 2
    assert again.images == made.images
    assert process.books.count("good harbour") == 1


async def test_a_canceled_job_is_canceled_at_its_provider(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(worker.RecordOperationRequest)))
    process.desk.cancel(JOB)
    await asyncio.to_thread(process.books.wait_for_cancel, seconds=SECONDS)

    assert process.books.canceled == ["p0"]
    assert (await process.facts_left(), process.desk.released) == (0, [])


async def test_who_is_told_to_stop_leaves_an_operation_to_the_next(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="slow harbour")
    child = process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(worker.RecordOperationRequest)))

    assert await stop(child) == 0
    assert process.desk.released == [(JOB, ())]
    assert (process.books.canceled, await process.facts_left()) == ([], 0)


async def test_who_is_told_to_stop_lets_a_call_end_that_nobody_could_resume(process: World) -> None:
    told = await process.progress_of(JOB)
    process.desk.add(JOB, size="2048x2048")
    child = process.start()
    async with asyncio.timeout(SECONDS):
        await told.get()
    drawing = psutil.Process(child.pid).children(recursive=True)

    assert await stop(child) == 0
    assert len((await process.next_fact()).images_generated.images) == 1
    assert process.desk.released == []
    _, alive = await asyncio.to_thread(psutil.wait_procs, drawing, timeout=SECONDS)
    assert drawing
    assert alive == []


async def test_a_killed_generator_leaves_no_process_behind(process: World) -> None:
    process.desk.add(JOB, size="64x64")
    child = process.start()
    await process.next_fact()
    drawing = psutil.Process(child.pid).children(recursive=True)
    await asyncio.to_thread(child.kill)
    _, alive = await asyncio.to_thread(psutil.wait_procs, drawing, timeout=SECONDS)

    assert drawing
    assert alive == []


async def test_a_store_that_comes_back_gets_the_picture_under_the_same_claim(process: World) -> None:
    process.proxy.go_away()
    process.desk.add(JOB, size="64x64")
    process.start()
    before = process.proxy.count("upload")
    await asyncio.to_thread(process.proxy.wait_for, "upload", times=before + 3)
    process.proxy.come_back()

    made = (await process.next_fact()).images_generated

    assert (made.fence.claim_number, len(process.desk.asked_for(BEGIN))) == (1, 1)


async def test_a_fact_waits_for_the_broker_while_the_lease_is_kept(process: World) -> None:
    process.desk.add(JOB, provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(worker.RecordOperationRequest)))
    await asyncio.to_thread(process.nats.child.stop, 5)
    process.books.finish.set()
    renewed = len(process.desk.asked_for(RENEW))
    await process.desk.until(lambda: len(process.desk.asked_for(RENEW)) >= renewed + 2)
    process.nats.child.start()

    fact = await process.next_fact()

    assert fact.images_generated.fence.claim_number == 1
    assert await process.facts_left() == 0


async def test_all_leases_are_renewed_in_one_call(process: World) -> None:
    for job_id in (JOB, OTHER):
        process.desk.add(job_id, provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(
        lambda: any({lease.job_id for lease in one.leases} == {JOB, OTHER} for one in process.desk.asked_for(RENEW))
    )


@pytest.mark.parametrize(("prompt", "reason"), [("private", "FORBIDDEN_ADDRESS"), ("text", "INVALID_IMAGE")])
async def test_a_result_that_will_not_do_was_paid_all_the_same(process: World, prompt: str, reason: str) -> None:
    process.desk.add(JOB, provider="paid", prompt=prompt)
    process.start()

    failed = (await process.next_fact()).stage_failed

    assert failed.failure.stage == error_pb2.STAGE_GENERATING
    assert failed.failure.reason == error_pb2.Reason.Value(f"REASON_{reason}")
    assert [(one.phase, one.cost_micros) for one in failed.calls] == [(job_pb2.CALL_PHASE_SUCCEEDED, 40_000)]
    assert process.messages[0].subject == f"{streams.FACT_GENERATION}.stage_failed"


async def test_an_open_call_of_a_canceled_job_is_stopped_and_settled(process: World) -> None:
    prediction = process.books.create({"input": {"prompt": "slow harbour"}})
    call = job_pb2.ProviderCall(
        id="call_1",
        job_id=JOB,
        provider="paid",
        model="test/model",
        phase=job_pb2.CALL_PHASE_ACCEPTED,
        operation_id=prediction["id"],
    )
    process.desk.settlements = [worker.Settlement(call=call, cancel=True, lease_seconds=3, seconds_left=60)]
    process.start()

    settled = (await process.next_fact()).call_settled

    assert (settled.job_id, settled.call.call_id) == (JOB, "call_1")
    assert settled.call.phase == job_pb2.CALL_PHASE_CANCELED
    assert settled.provider_cancel == job_pb2.PROVIDER_CANCEL_CONFIRMED
    assert process.books.canceled == [prediction["id"]]


async def test_a_folder_that_nobody_needs_is_emptied_and_the_fact_says_so(process: World) -> None:
    for job_id in (JOB, OTHER):
        await process.staging.put(f"{job_id}/call_1/0", b"x", content_type="image/png", metadata={})
    process.desk.deletions = [worker.Deletion(id="del_1", prefix=f"{JOB}/")]
    process.start()

    deleted = (await process.next_fact()).objects_deleted

    asked = process.desk.asked_for(worker.ClaimDeletionsRequest)
    assert {one.bucket for one in asked} == {worker.BUCKET_STAGING}
    assert (deleted.deletion_id, deleted.count) == ("del_1", 1)
    assert any(deleted.lease_token in one.lease_tokens for one in asked)
    assert [one.name for one in await process.staging.find("")] == [f"{OTHER}/call_1/0"]


async def test_operators_see_its_state_and_can_drain_it(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.catalogue) and bool(process.desk.asked_for(CLAIM)))
    async with grpc.aio.insecure_channel(process.listens) as channel:
        operations = operations_service_pb2_grpc.OperationsServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        watched = health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=SECONDS)
        async for checked in watched:
            if checked.status == health_pb2.HealthCheckResponse.SERVING:
                break
        before = await operations.GetStatus(ops.GetStatusRequest(), timeout=SECONDS)
        await operations.Drain(ops.DrainRequest(), timeout=SECONDS)
        after = await operations.GetStatus(ops.GetStatusRequest(), timeout=SECONDS)

    assert (before.service, before.ready, before.draining) == ("generator", True, False)
    assert after.draining


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"MAX_GENERATING_SECONDS": "30"}, "timeout_seconds: is over CALOTYPE_MAX_GENERATING_SECONDS (30)"),
        ({"GENERATOR_SLOTS": "none"}, "CALOTYPE_GENERATOR_SLOTS"),
        ({"PROVIDERS_FILE": "/nowhere/providers.yaml"}, "/nowhere/providers.yaml"),
        ({"COLOUR": "red"}, "CALOTYPE_COLOUR"),
        ({"GRPC_TLS_CERT_FILE": "/tls.crt"}, "CALOTYPE_GRPC_TLS_KEY_FILE is not"),
        ({"GRPC_TLS_CA_FILE": "/ca.crt"}, "CALOTYPE_GRPC_TLS_CA_FILE needs"),
        ({"GRPC_IDENTITIES_FILE": "/nowhere/identities.yaml"}, "/nowhere/identities.yaml"),
        ({"GRPC_TOKEN_FILE": "/nowhere/token"}, "CALOTYPE_GRPC_TOKEN_FILE names /nowhere/token"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(process: World, settings: dict[str, Any], told: str) -> None:
    child = process.start(**settings)
    status = await asyncio.to_thread(psutil.Process(child.pid).wait, SECONDS)
    [line] = child.program.log.read_text(encoding="utf-8").splitlines()

    assert status == 2
    assert told in line
