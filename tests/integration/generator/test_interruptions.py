"""generator-service as a process: whatever is killed, stopped or away, nothing is lost and nothing bought twice."""

import asyncio

import grpc
import psutil
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2
from calotype.job.v1 import worker_service_pb2 as worker

from tests.support.generating import SHORT_LEASE
from tests.support.generator_process import World, stop
from tests.support.patience import PATIENCE

JOB = "job_01890000000070008000000000000001"
BEGIN, RENEW = worker.BeginProviderCallRequest, worker.RenewLeasesRequest


async def test_a_claim_whose_answer_was_lost_holds_its_job_all_the_same(process: World) -> None:
    process.desk.add(JOB, size="64x64")
    process.desk.lose_claims = 1
    process.start()

    fact = await process.next_fact()

    assert fact.images_generated.fence.claim_number == 1
    assert process.desk.claims == {JOB: 1}


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
    await asyncio.to_thread(process.books.wait_for_create, "hangs", seconds=PATIENCE)
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
    process.desk.lease_seconds = SHORT_LEASE
    process.desk.add(JOB, provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(lambda: bool(process.desk.asked_for(worker.RecordOperationRequest)))
    process.desk.cancel(JOB)
    await asyncio.to_thread(process.books.wait_for_cancel, seconds=PATIENCE)

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
    async with asyncio.timeout(PATIENCE):
        await told.get()
    drawing = psutil.Process(child.pid).children(recursive=True)

    assert await stop(child) == 0
    assert len((await process.next_fact()).images_generated.images) == 1
    assert process.desk.released == []
    _, alive = await asyncio.to_thread(psutil.wait_procs, drawing, timeout=PATIENCE)
    assert drawing
    assert alive == []


async def test_a_killed_generator_leaves_no_process_behind(process: World) -> None:
    process.desk.add(JOB, size="64x64")
    child = process.start()
    await process.next_fact()
    drawing = psutil.Process(child.pid).children(recursive=True)
    await asyncio.to_thread(child.kill)
    _, alive = await asyncio.to_thread(psutil.wait_procs, drawing, timeout=PATIENCE)

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
    process.desk.lease_seconds = SHORT_LEASE
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
