"""generator-service as a process: whatever is killed, stopped or away, nothing is lost and nothing bought twice."""

import asyncio

import grpc
import psutil
from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2
from calotype.job.v1 import worker_service_pb2 as worker

from tests.support.job_service.watched_worker_service import SHORT_LEASE
from tests.support.patience import PATIENCE
from tests.support.processes.generator_environment import World, stop

BEGIN, RENEW = worker.BeginProviderCallRequest, worker.RenewLeasesRequest


async def test_a_claim_whose_answer_was_lost_holds_its_job_all_the_same(process: World) -> None:
    job_id = process.desk.add(size="64x64")
    process.desk.lose_claims = 1
    process.start()

    fact = await process.next_fact()

    assert fact.images_generated.fence.claim_number == 1
    assert process.desk.jobs.job(job_id).claim_number == 1


async def test_an_operation_outlives_its_worker_and_is_bought_once(process: World) -> None:
    job_id = process.desk.add(provider="paid", prompt="slow harbour")
    first = process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(worker.RecordOperationRequest)))
    await asyncio.to_thread(first.kill)
    process.desk.rescue(job_id)
    process.books.finish.set()
    process.start()

    made = (await process.next_fact()).images_generated

    assert (made.fence.claim_number, len(made.images)) == (2, 1)
    assert [(outcome.operation_id, outcome.cost_micros) for outcome in made.calls] == [("p0", 40_000)]
    assert process.books.count("slow harbour") == 1


async def test_an_operation_that_could_not_be_written_down_is_told_as_a_fact(process: World) -> None:
    process.desk.refuse["RecordOperation"] = grpc.StatusCode.UNAVAILABLE
    job_id = process.desk.add(provider="paid", prompt="good harbour")
    process.start()

    accepted = (await process.next_fact()).provider_call_accepted
    made = (await process.next_fact()).images_generated

    assert (accepted.job_id, accepted.operation_id) == (job_id, "p0")
    assert set(accepted.operation_state) >= {"get", "cancel"}
    assert [outcome.call_id for outcome in made.calls] == [accepted.call_id]


async def test_a_paid_call_whose_answer_died_with_its_worker_is_never_repeated(process: World) -> None:
    job_id = process.desk.add(provider="paid", prompt="hangs")
    first = process.start()
    await asyncio.to_thread(process.books.wait_for_create, "hangs", seconds=PATIENCE)
    await asyncio.to_thread(first.kill)
    process.desk.rescue(job_id)
    process.start()

    failed = (await process.next_fact()).stage_failed

    assert (failed.fence.claim_number, failed.failure.stage) == (2, error_pb2.STAGE_GENERATING)
    assert failed.failure.code == error_pb2.CODE_TIMEOUT
    assert failed.failure.reason == error_pb2.REASON_AMBIGUOUS_OUTCOME
    assert not failed.failure.retryable
    assert [outcome.phase for outcome in failed.calls] == [job_pb2.CALL_PHASE_UNKNOWN]
    assert process.books.count("hangs") == 1


async def test_images_that_a_killed_worker_staged_are_adopted(process: World) -> None:
    job_id = process.desk.add(provider="paid", prompt="good harbour")
    first = process.start()
    made = (await process.next_fact()).images_generated
    await asyncio.to_thread(first.kill)
    # As if the fact had not come, and the acceptance had not been written down.
    process.desk.jobs.sql("UPDATE provider_calls SET phase = 'intended', operation_id = NULL, accepted_at = NULL")
    process.desk.rescue(job_id)
    process.start()

    again = (await process.next_fact()).images_generated

    assert again.fence.claim_number == 2
    assert again.images == made.images
    assert process.books.count("good harbour") == 1


async def test_a_canceled_job_is_canceled_at_its_provider(process: World) -> None:
    process.desk.lease_for(SHORT_LEASE)
    job_id = process.desk.add(provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(worker.RecordOperationRequest)))
    process.desk.jobs.cancel(job_id)

    # Whoever follows it hears of that by its lease, and whoever settles it: the first to ask has stopped it. The
    # one who follows may see that and tell it, too, for a job that it moves no more.
    while (fact := await process.next_fact()).WhichOneof("fact") != "call_settled":
        assert fact.WhichOneof("fact") in ("stage_failed", "ledger_settled")
    settled = fact.call_settled

    assert (settled.job_id, settled.call.phase) == (job_id, job_pb2.CALL_PHASE_CANCELED)
    assert settled.provider_cancel == job_pb2.PROVIDER_CANCEL_CONFIRMED
    assert set(process.books.canceled) == {"p0"}
    assert process.desk.released == []


async def test_who_is_told_to_stop_leaves_an_operation_to_the_next(process: World) -> None:
    job_id = process.desk.add(provider="paid", prompt="slow harbour")
    child = process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(worker.RecordOperationRequest)))

    assert await stop(child) == 0
    assert process.desk.released == [(job_id, ())]
    assert (process.books.canceled, await process.unread_facts()) == ([], 0)


async def test_who_is_told_to_stop_lets_a_call_end_that_nobody_could_resume(process: World) -> None:
    told = await process.progress_of(process.desk.add(size="2048x2048"))
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
    process.desk.add(size="64x64")
    child = process.start()
    await process.next_fact()
    drawing = psutil.Process(child.pid).children(recursive=True)
    await asyncio.to_thread(child.kill)
    _, alive = await asyncio.to_thread(psutil.wait_procs, drawing, timeout=PATIENCE)

    assert drawing
    assert alive == []


async def test_a_store_that_comes_back_gets_the_picture_under_the_same_claim(process: World) -> None:
    process.proxy.go_away()
    process.desk.add(size="64x64")
    process.start()
    before = process.proxy.count("upload")
    await asyncio.to_thread(process.proxy.wait_for, "upload", times=before + 3)
    process.proxy.come_back()

    made = (await process.next_fact()).images_generated

    assert (made.fence.claim_number, len(process.desk.requests_of(BEGIN))) == (1, 1)


async def test_a_fact_waits_for_the_broker_while_the_lease_is_kept(process: World) -> None:
    process.desk.lease_for(SHORT_LEASE)
    process.desk.add(provider="paid", prompt="slow harbour")
    process.start()
    await process.desk.until(lambda: bool(process.desk.requests_of(worker.RecordOperationRequest)))
    await asyncio.to_thread(process.nats.child.stop, 5)
    process.books.finish.set()
    renewed = len(process.desk.requests_of(RENEW))
    await process.desk.until(lambda: len(process.desk.requests_of(RENEW)) >= renewed + 2)
    process.nats.child.start()

    fact = await process.next_fact()

    assert fact.images_generated.fence.claim_number == 1
    assert await process.unread_facts() == 0
