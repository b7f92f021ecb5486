"""generator-service as a process: from claim to fact, and what its operators see of it."""

import asyncio
import io
import json
from typing import Any

import psutil
import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from click.testing import CliRunner, Result
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from cli.__main__ import main
from common.grpc_client import ClientSettings, channel
from services.job.application import bucket_sweep, provider_calls
from services.job.domain.calls import ProviderCall
from services.job.domain.jobs import Job
from tests.support.job_service.use_cases import failed
from tests.support.job_service.watched_worker_service import SHORT_LEASE, TRACE_ID
from tests.support.patience import PATIENCE
from tests.support.processes.generator_environment import World
from tests.support.security.identities import OPERATOR

from .conftest import PICTURE

CLAIM, REGISTER, RENEW = worker.ClaimJobsRequest, worker.RegisterProvidersRequest, worker.RenewLeasesRequest


def accepted(process: World, operation_id: str) -> tuple[Job, ProviderCall]:
    """A held job whose operation is under way at the vendor."""
    jobs = process.desk.jobs
    process.desk.add(provider="paid", prompt="slow harbour")
    [claimed] = jobs.claim()
    call = jobs.begin(claimed.job)
    jobs.run(lambda c: provider_calls.record_operation(c, call.id, operation_id=operation_id, state={}))
    return jobs.job(claimed.job.id), call


async def test_a_drawn_picture_lies_in_staging_and_the_fact_says_all_of_it(process: World) -> None:
    job_id = process.desk.add(n=2, size="96x64", seed=7)
    process.start()

    made = (await process.next_fact()).images_generated

    assert (made.fence.job_id, made.fence.claim_number) == (job_id, 1)
    assert process.desk.holds(job_id, made.fence.lease_token)
    assert {outcome.phase for outcome in made.calls} == {job_pb2.CALL_PHASE_SUCCEEDED}
    assert [outcome.cost_micros for outcome in made.calls] == [0, 0]
    assert [(image.index, image.seed) for image in made.images] == [(0, 7), (1, 8)]
    for image in made.images:
        data = await process.staging.get(image.staged.name)
        [there] = await process.staging.find(image.staged.name)
        assert image.staged.name == f"{job_id}/{image.staged.call_id}/{image.index}"
        assert Image.open(io.BytesIO(data)).size == (image.width, image.height) == (96, 64)
        assert (there.content_type, there.size) == (image.content_type, image.size_bytes) == ("image/png", len(data))
        assert {name: json.loads(there.metadata[name]) for name in ("index", "count", "sha256")} == {
            "index": image.index,
            "count": 1,
            "sha256": image.sha256,
        }


async def test_a_fact_is_an_event_of_the_jobs_one_trace(process: World) -> None:
    job_id = process.desk.add(size="64x64")
    process.start()

    fact = await process.next_fact()

    (message,) = process.messages
    headers = message.headers or {}
    assert message.subject == f"{streams.FACT_GENERATION}.images_generated"
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == fact.id
    assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "calotype.fact.images_generated")
    assert (headers["ce-source"], headers["ce-subject"]) == ("calotype/generator", job_id)
    assert headers["content-type"] == "application/protobuf"
    assert headers["traceparent"].split("-")[1] == TRACE_ID


async def test_its_providers_are_made_known(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(REGISTER)))
    drawn, paid, _ = process.desk.requests_of(REGISTER)[0].providers

    assert (drawn.name, drawn.is_default, drawn.capabilities.free) == ("procedural", True, True)
    assert (paid.name, paid.is_default, paid.capabilities.resumable) == ("paid", False, True)
    assert (paid.default_model, paid.models[0].price_micros_per_image) == ("test/model", 40_000)


async def test_an_input_picture_that_came_as_bytes_is_asked_for_at_the_desk(process: World) -> None:
    pictures = [job_pb2.InputImage(data=PICTURE, content_type="image/png")] * 2
    job_id = process.desk.add(provider="edits", input_images=pictures)
    process.start()

    fact = await process.next_fact()

    assert len(fact.images_generated.images) == 1
    asked = process.desk.requests_of(worker.GetJobInputRequest)
    assert [(one.lease.job_id, one.index) for one in asked] == [(job_id, 0), (job_id, 1)]
    [edit] = process.books.edits
    assert edit.count(PICTURE) == 2


async def test_a_wake_up_is_taken_from_the_broker_and_brings_a_claim(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(CLAIM)))
    await process.broker.publish(streams.WAKE_GENERATE, b"", message_id="wake-1", headers={})
    async with asyncio.timeout(PATIENCE):
        while (await process.broker.context.stream_info(streams.WORK["name"])).state.messages:
            asked = len(process.desk.requests_of(CLAIM))
            await process.desk.until(lambda: len(process.desk.requests_of(CLAIM)) > asked)  # noqa: B023 - awaited here


async def test_progress_is_told_while_a_picture_is_drawn(process: World) -> None:
    told = await process.progress_of(process.desk.add(size="2048x2048"))
    process.start()

    async with asyncio.timeout(PATIENCE):
        progress = job_service_pb2.Progress.FromString(await told.get())
    assert 0 < progress.percent <= 100


async def test_all_leases_are_renewed_in_one_call(process: World) -> None:
    process.desk.lease_for(SHORT_LEASE)
    both = {process.desk.add(provider="paid", prompt="slow harbour") for _ in range(2)}
    process.start()
    await process.desk.until(
        lambda: any({lease.job_id for lease in one.leases} == both for one in process.desk.requests_of(RENEW))
    )


@pytest.mark.parametrize(("prompt", "reason"), [("private", "FORBIDDEN_ADDRESS"), ("text", "INVALID_IMAGE")])
async def test_a_result_that_will_not_do_was_paid_all_the_same(process: World, prompt: str, reason: str) -> None:
    process.desk.add(provider="paid", prompt=prompt)
    process.start()

    failed = (await process.next_fact()).stage_failed

    assert failed.failure.stage == error_pb2.STAGE_GENERATING
    assert failed.failure.reason == error_pb2.Reason.Value(f"REASON_{reason}")
    assert [(one.phase, one.cost_micros) for one in failed.calls] == [(job_pb2.CALL_PHASE_SUCCEEDED, 40_000)]
    assert process.messages[0].subject == f"{streams.FACT_GENERATION}.stage_failed"


async def test_an_open_call_of_a_canceled_job_is_stopped_and_settled(process: World) -> None:
    prediction = process.books.create({"input": {"prompt": "slow harbour"}})
    job, call = accepted(process, prediction["id"])
    process.desk.jobs.cancel(job.id)
    process.start()

    settled = (await process.next_fact()).call_settled

    assert (settled.job_id, settled.call.call_id) == (job.id, call.id)
    assert settled.call.phase == job_pb2.CALL_PHASE_CANCELED
    assert settled.provider_cancel == job_pb2.PROVIDER_CANCEL_CONFIRMED
    assert process.books.canceled == [prediction["id"]]


async def test_an_open_call_that_does_not_end_is_given_back_after_one_look(process: World) -> None:
    prediction = process.books.create({"input": {"prompt": "slow harbour"}})
    job, _ = accepted(process, prediction["id"])
    process.desk.jobs.apply(failed(job, retryable=False))
    process.start()

    await process.desk.until(lambda: process.desk.requests_of(worker.PostponeSettlementRequest) != [])
    postponed = process.desk.requests_of(worker.PostponeSettlementRequest)[0]
    [row] = process.desk.jobs.sql("SELECT phase, settle_looks FROM provider_calls")
    assert postponed.shortest_pause_seconds == pytest.approx(0.05)
    assert (row.phase, row.settle_looks >= 1) == ("accepted", True)
    assert process.books.canceled == []


async def test_a_folder_that_nobody_needs_is_emptied_before_that_is_said(process: World) -> None:
    job_id, other = process.desk.add(), process.desk.add()
    for one in (job_id, other):
        await process.staging.put(f"{one}/call_1/0", b"x", content_type="image/png", metadata={})
    # The other is in somebody's hands, so that nothing is drawn here.
    process.desk.jobs.cancel(job_id)
    process.desk.jobs.claim()
    process.start()

    await process.desk.until(lambda: any(one.emptied for one in process.desk.requests_of(worker.ClaimDeletionsRequest)))

    asked = process.desk.requests_of(worker.ClaimDeletionsRequest)
    assert {one.bucket for one in asked} == {worker.BUCKET_STAGING}
    [emptied] = [emptied for one in asked for emptied in one.emptied]
    assert any(emptied.lease_token in one.lease_tokens for one in asked)
    noted = process.desk.jobs.sql("SELECT id, prefix FROM deletions WHERE seen_empty_at IS NOT NULL")
    assert noted == [(emptied.id, f"{job_id}/")]
    assert [one.name for one in await process.staging.find("")] == [f"{other}/call_1/0"]


async def test_what_is_in_staging_is_told_a_page_at_a_time(process: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_sweep, "PAGE", 3)
    job_id = process.desk.add()
    process.desk.jobs.claim()
    names = [f"{job_id}/call_1/{at}" for at in range(4)]
    for name in names:
        await process.staging.put(name, b"x", content_type="image/png", metadata={})
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(worker.ReportSweepRequest)))

    told = process.desk.requests_of(worker.ReportSweepRequest)[0]
    assert (told.bucket, list(told.names), told.is_end) == (worker.BUCKET_STAGING, names[:3], False)
    assert told.lease_token in {one.lease_token for one in process.desk.requests_of(worker.ClaimSweepRequest)}
    await process.desk.until(lambda: len(process.desk.requests_of(worker.ReportSweepRequest)) > 1)
    told = process.desk.requests_of(worker.ReportSweepRequest)[1]
    assert (list(told.names), told.is_end) == (names[3:], True)
    assert process.desk.jobs.sql("SELECT 1 FROM deletions") == []


async def test_operators_see_its_state_and_can_drain_it(process: World) -> None:
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(REGISTER)) and bool(process.desk.requests_of(CLAIM)))
    async with channel(process.listens, settings=ClientSettings(grpc_token=OPERATOR)) as opened:
        operations = operations_service_pb2_grpc.OperationsServiceStub(opened)
        health = health_pb2_grpc.HealthStub(opened)
        watched = health.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
        async for checked in watched:
            if checked.status == health_pb2.HealthCheckResponse.SERVING:
                break
        before = await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)
        await operations.Drain(ops.DrainRequest(), timeout=PATIENCE)
        after = await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)

    assert (before.service, before.ready, before.draining) == ("generator", True, False)
    assert dict(before.counters) == {"slots_busy": 0, "bytes_held": 0}
    assert after.draining


async def test_operators_change_its_log_level_and_drain_it_by_command(
    process: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOTYPE_GRPC_TOKEN", OPERATOR)
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(REGISTER)) and bool(process.desk.requests_of(CLAIM)))

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--address", process.listens])

    level = await run("log-level", "generator", "debug", "--for", "10m")
    other = await run("log-level", "uploader", "debug")
    async with channel(process.listens, settings=ClientSettings(grpc_token=OPERATOR)) as opened:
        operations = operations_service_pb2_grpc.OperationsServiceStub(opened)
        status = await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)
    drained = await run("drain", "generator")
    monkeypatch.setenv("CALOTYPE_GRPC_TOKEN", "wrong")
    refused = await run("drain", "generator")

    assert (level.exit_code, level.stdout) == (0, f"{process.listens}  info -> debug for 600 s\n")
    assert (other.exit_code, "is generator, not uploader" in other.stderr) == (2, True)
    assert (status.log_level, 0 < status.log_level_seconds <= 600) == ("debug", True)
    assert (drained.exit_code, "claims nothing more; holds nothing" in drained.stdout) == (0, True)
    assert refused.exit_code == 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"MAX_GENERATING_SECONDS": "30"},
            "timeout_seconds: must be at most 30, the value of CALOTYPE_MAX_GENERATING_SECONDS",
        ),
        ({"GENERATOR_SLOTS": "none"}, "CALOTYPE_GENERATOR_SLOTS"),
        ({"PROVIDERS_FILE": "/nowhere/providers.yaml"}, "/nowhere/providers.yaml"),
        ({"COLOUR": "red"}, "CALOTYPE_COLOUR"),
        ({"GRPC_TLS_CERT_FILE": "/tls.crt"}, "CALOTYPE_GRPC_TLS_KEY_FILE is not"),
        ({"GRPC_TLS_CA_FILE": "/ca.crt"}, "CALOTYPE_GRPC_TLS_CA_FILE needs"),
        ({"GRPC_IDENTITIES_FILE": "/nowhere/identities.yaml"}, "/nowhere/identities.yaml"),
        ({"GRPC_IDENTITIES_FILE": ""}, "CALOTYPE_GRPC_IDENTITIES_FILE is not set"),
        ({"GRPC_TOKEN_FILE": "/nowhere/token"}, "CALOTYPE_GRPC_TOKEN_FILE names /nowhere/token"),
    ],
)
async def test_a_bad_setting_stops_the_start_with_one_line(process: World, settings: dict[str, Any], told: str) -> None:
    child = process.start(**settings)
    status = await asyncio.to_thread(psutil.Process(child.pid).wait, PATIENCE)
    [line] = child.program.log.read_text(encoding="utf-8").splitlines()

    assert status == 2
    assert told in line
