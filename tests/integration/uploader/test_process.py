"""uploader-service from claim to fact, whatever goes away meanwhile."""

import asyncio
import hashlib

import grpc
import pytest
from calotype import streams
from calotype.error.v1 import error_pb2
from calotype.fact.v1 import fact_pb2
from calotype.job.v1 import worker_service_pb2 as worker
from calotype.ops.v1 import operations_service_pb2 as ops
from calotype.ops.v1 import operations_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.stack.child import Child
from common.grpc_client import ClientSettings, channel
from services.job.domain.facts import ImagesStored
from services.job.messages import from_protobuf
from tests.support.job_service.watched_worker_service import SHORT_LEASE, TRACE_ID
from tests.support.patience import PATIENCE
from tests.support.proxies.storage_proxy import Fault
from tests.support.security.identities import OPERATOR

from .conftest import World

#: Claims of uploaders: a generator had the first.
FIRST, SECOND = 2, 3
PICTURES = (b"first picture", b"second picture")
CLAIM, RENEW = worker.ClaimUploadsRequest, worker.RenewLeasesRequest


def said(stored: fact_pb2.ImagesStored) -> ImagesStored:
    """A fact as job-service reads it."""
    names = {image.index: image.object_name for image in stored.images}
    return ImagesStored(fence=from_protobuf.fence(stored.fence), names=names)


async def stop(child: Child) -> int | None:
    """Tell a process to stop, once, and wait for its end; its exit status."""
    await asyncio.to_thread(child.stop, PATIENCE)
    return child.exit_status


async def test_staged_images_become_public_and_the_fact_says_so(world: World) -> None:
    job_id = await world.add(*PICTURES)
    world.start(PUBLIC_CACHE_SECONDS="77")

    fact = await world.next_fact()

    stored = fact.images_stored
    assert (stored.fence.job_id, stored.fence.claim_number) == (job_id, FIRST)
    assert world.desk.holds(job_id, stored.fence.lease_token)
    digests = [hashlib.sha256(picture).hexdigest() for picture in PICTURES]
    names = [f"jobs/{job_id}/{index}-{digest[:16]}.png" for index, digest in enumerate(digests)]
    assert [one.object_name for one in stored.images] == names
    assert [one.sha256 for one in stored.images] == digests
    for name, picture in zip(names, PICTURES, strict=True):
        answer = await world.get(name)
        assert (answer.status_code, answer.content) == (200, picture)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cache-Control"] == "public, max-age=77, immutable"
        assert "private" not in str(answer.headers)


async def test_a_fact_is_an_event_of_the_jobs_one_trace(world: World) -> None:
    job_id = await world.add(*PICTURES)
    world.start()

    fact = await world.next_fact()

    (message,) = world.messages
    headers = message.headers or {}
    assert message.subject == f"{streams.FACT_UPLOAD}.images_stored"
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == fact.id
    assert (headers["ce-specversion"], headers["ce-type"]) == ("1.0", "calotype.fact.images_stored")
    assert (headers["ce-source"], headers["ce-subject"]) == ("calotype/uploader", job_id)
    assert headers["content-type"] == "application/protobuf"
    assert headers["traceparent"].split("-")[1] == TRACE_ID


async def test_a_claim_whose_answer_was_lost_holds_its_job_all_the_same(world: World) -> None:
    job_id = await world.add(*PICTURES)
    world.desk.lose_claims = 1
    world.start()

    fact = await world.next_fact()

    assert fact.images_stored.fence.claim_number == FIRST
    assert world.desk.jobs.job(job_id).claim_number == FIRST


async def test_a_wake_up_is_taken_from_the_broker_and_brings_a_claim(world: World) -> None:
    world.start()
    await world.desk.until(lambda: bool(world.desk.requests_of(CLAIM)))
    asked = len(world.desk.requests_of(CLAIM))
    await world.broker.publish(streams.WAKE_UPLOAD, b"", message_id="wake-1", headers={})
    await world.desk.until(lambda: len(world.desk.requests_of(CLAIM)) > asked)

    async with asyncio.timeout(PATIENCE):
        while (await world.broker.context.stream_info(streams.WORK["name"])).state.messages:
            asked = len(world.desk.requests_of(CLAIM))
            await world.desk.until(lambda: len(world.desk.requests_of(CLAIM)) > asked)  # noqa: B023 - awaited here


async def test_a_killed_uploaders_copies_are_found_by_the_next(world: World) -> None:
    job_id = await world.add(*PICTURES)
    # Both are copied, and the answer to the second is never read.
    world.proxy.order(Fault.LOSE_RESPONSE, on="rewrite")
    first = world.start()
    await asyncio.to_thread(world.proxy.wait_for, "rewrite", times=2)
    world.proxy.go_away()
    await asyncio.to_thread(first.kill)
    while await world.unread_facts():
        # It was faster than the kill: then its fact is of the first claim, and harms nobody.
        await world.next_fact()
    world.proxy.come_back()
    world.desk.rescue(job_id)
    world.start()

    fact = await world.next_fact()

    assert (fact.images_stored.fence.claim_number, len(fact.images_stored.images)) == (SECOND, 2)
    assert world.proxy.count_done("rewrite") == 2


async def test_a_store_that_comes_back_is_used_again_under_the_same_claim(world: World) -> None:
    await world.add(*PICTURES)
    world.proxy.go_away()
    world.start()
    before = world.proxy.count("read")
    await asyncio.to_thread(world.proxy.wait_for, "read", times=before + 4)
    world.proxy.come_back()

    fact = await world.next_fact()

    assert fact.images_stored.fence.claim_number == FIRST


async def test_a_fact_waits_for_the_broker_while_the_lease_is_kept(world: World) -> None:
    world.desk.lease_for(SHORT_LEASE)
    await world.add(*PICTURES)
    world.proxy.order(Fault.HOLD, on="rewrite", times=2)
    world.start()
    await asyncio.to_thread(world.proxy.wait_for, "rewrite", times=2)
    await asyncio.to_thread(world.nats.child.stop, 5)
    world.proxy.release()
    renewed = len(world.desk.requests_of(RENEW))
    await world.desk.until(lambda: len(world.desk.requests_of(RENEW)) >= renewed + 2)
    world.nats.child.start()

    fact = await world.next_fact()

    assert fact.images_stored.fence.claim_number == FIRST
    assert await world.unread_facts() == 0


async def test_a_canceled_jobs_copies_are_deleted_again_and_nothing_is_told(world: World) -> None:
    world.desk.lease_for(SHORT_LEASE)
    job_id, other = await world.add(*PICTURES), await world.add(*PICTURES)
    world.proxy.order(Fault.HOLD, on="rewrite", times=4)
    world.start()
    await asyncio.to_thread(world.proxy.wait_for, "rewrite", times=4)
    world.desk.jobs.cancel(job_id)
    # Who asks for the other alone has heard that this one is canceled.
    await world.desk.until(
        lambda: any([lease.job_id for lease in one.leases] == [other] for one in world.desk.requests_of(RENEW))
    )
    world.proxy.release()
    await asyncio.to_thread(world.proxy.wait_for, "delete", times=2)
    fact = await world.next_fact()

    assert fact.images_stored.fence.job_id == other
    assert {asked.name.split("/")[1] for asked in world.proxy.requests if asked.kind == "delete"} == {job_id}
    assert await world.unread_facts() == 0
    assert world.desk.released == []


async def test_who_is_told_to_stop_hands_back_what_cannot_be_copied_now(world: World) -> None:
    job_id = await world.add(*PICTURES)
    world.proxy.go_away(Fault.HANG_UP)
    child = world.start()
    before = world.proxy.count("read")
    await asyncio.to_thread(world.proxy.wait_for, "read", times=before + 2)

    assert await stop(child) == 0
    assert world.desk.released == [(job_id, ())]
    assert await world.unread_facts() == 0


async def test_who_is_told_to_stop_ends_the_copies_under_way(world: World) -> None:
    await world.add(*PICTURES)
    world.proxy.order(Fault.HOLD, on="rewrite", times=2)
    child = world.start()
    await asyncio.to_thread(world.proxy.wait_for, "rewrite", times=2)
    stopping = asyncio.create_task(stop(child))
    world.proxy.release()

    fact = await world.next_fact()

    assert len(fact.images_stored.images) == 2
    assert await stopping == 0
    assert world.desk.released == []


async def test_an_image_that_is_not_staged_as_recorded_fails_where_it_was_seen(world: World) -> None:
    job_id = await world.add(*PICTURES, too_long=1)
    world.start()

    failed = (await world.next_fact()).stage_failed

    assert (failed.fence.job_id, failed.fence.claim_number) == (job_id, FIRST)
    assert failed.failure.stage == error_pb2.STAGE_PERSISTING
    assert failed.failure.code == error_pb2.CODE_PERMANENT
    assert failed.failure.reason == error_pb2.REASON_RESULT_MISMATCH
    assert not failed.failure.retryable
    assert world.messages[0].subject == f"{streams.FACT_UPLOAD}.stage_failed"


async def test_a_refused_credential_is_told_as_such(world: World) -> None:
    await world.add(*PICTURES)
    world.start(identity="generator")

    failed = (await world.next_fact()).stage_failed

    assert failed.failure.stage == error_pb2.STAGE_UPLOADING
    assert failed.failure.code == error_pb2.CODE_AUTH_ERROR
    assert failed.failure.reason == error_pb2.REASON_STORAGE_DENIED


async def test_a_deleted_jobs_folder_is_emptied_before_that_is_said(world: World) -> None:
    job_id, other = await world.add(*PICTURES), await world.add(*PICTURES)
    world.start()
    stored = [(await world.next_fact()).images_stored, (await world.next_fact()).images_stored]
    for one in stored:
        world.desk.jobs.apply(said(one))
    world.desk.jobs.delete(job_id)

    await world.desk.until(lambda: any(one.emptied for one in world.desk.requests_of(worker.ClaimDeletionsRequest)))

    asked = world.desk.requests_of(worker.ClaimDeletionsRequest)
    assert {one.bucket for one in asked} == {worker.BUCKET_PUBLIC}
    [emptied] = [emptied for one in asked for emptied in one.emptied]
    assert any(emptied.lease_token in one.lease_tokens for one in asked)
    noted = world.desk.jobs.sql("SELECT id, prefix FROM deletions WHERE seen_empty_at IS NOT NULL")
    assert noted == [(emptied.id, f"jobs/{job_id}/")]
    statuses = {
        one.fence.job_id: {(await world.get(image.object_name)).status_code for image in one.images} for one in stored
    }
    assert statuses == {job_id: {404}, other: {200}}


async def test_what_is_public_is_told_a_page_at_a_time(world: World) -> None:
    await world.add(*PICTURES)
    world.start()
    stored = (await world.next_fact()).images_stored
    world.desk.jobs.apply(said(stored))
    await world.desk.until(lambda: bool(world.desk.requests_of(worker.ReportSweepRequest)))
    world.desk.jobs.sql("UPDATE sweeps SET due_at = clock_timestamp()")
    await world.desk.until(lambda: len(world.desk.requests_of(worker.ReportSweepRequest)) > 1)

    told = world.desk.requests_of(worker.ReportSweepRequest)[1]
    assert (told.bucket, told.is_end) == (worker.BUCKET_PUBLIC, True)
    assert list(told.names) == [image.object_name for image in stored.images]
    assert world.desk.jobs.sql("SELECT missing_before FROM sweeps") == [(0,)]


async def test_operators_see_its_state_and_can_drain_it(world: World) -> None:
    world.start()
    await world.desk.until(lambda: bool(world.desk.requests_of(CLAIM)))
    async with channel(world.listens, settings=ClientSettings(grpc_token=OPERATOR)) as opened:
        operations = operations_service_pb2_grpc.OperationsServiceStub(opened)
        health = health_pb2_grpc.HealthStub(opened)
        before = await operations.GetStatus(ops.GetStatusRequest(), wait_for_ready=True, timeout=PATIENCE)
        checked = await health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        await operations.Drain(ops.DrainRequest(), timeout=PATIENCE)
        after = await operations.GetStatus(ops.GetStatusRequest(), timeout=PATIENCE)
        level = await operations.SetLogLevel(ops.SetLogLevelRequest(level="debug"), timeout=PATIENCE)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await operations.SetLogLevel(ops.SetLogLevelRequest(level="loud"), timeout=PATIENCE)

    assert checked.status == health_pb2.HealthCheckResponse.SERVING
    assert (before.service, before.ready, before.draining) == ("uploader", True, False)
    assert dict(before.counters) == {"slots_busy": 0}
    assert after.draining
    assert level.previous_level == "info"
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
