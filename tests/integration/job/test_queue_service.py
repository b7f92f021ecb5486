"""What operators see of the queue: counted as it is, per tenant and together."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from calotype.error_reasons import Code, Reason
from calotype.job.v1 import job_pb2
from calotype.ops.v1 import queue_service_pb2 as queue
from calotype.ops.v1 import queue_service_pb2_grpc

from common.errors import ServiceError
from common.grpc_client import call, channel
from common.grpc_server import serve
from common.health import Readiness
from common.postgres import Database
from services.job.grpc_api.queue_service import QueueService
from services.job.store import provider_spend, throughput
from services.job.store import queue as store
from tests.support.job_service.use_cases import JobUseCases, failed
from tests.support.patience import PATIENCE


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Any]:
    """The service over the wire."""
    database = Database(database_url, application="test", pool_size=1)
    served = QueueService(database, public_base_url="http://pictures.test/").grpc_service()
    async with serve("127.0.0.1:0", [served], ready=Readiness()) as port, channel(f"127.0.0.1:{port}") as opened:
        yield queue_service_pb2_grpc.QueueServiceStub(opened)
    await database.close()


async def get(service: Any) -> queue.GetQueueResponse:
    """The queue now."""
    return await call(service.GetQueue, queue.GetQueueRequest(), timeout=PATIENCE)


async def test_an_empty_queue_is_told_as_one(service: Any) -> None:
    assert await get(service) == queue.GetQueueResponse(jobs=queue.JobCounts(is_exact=True))


async def test_jobs_are_counted_by_state_and_tenant(desk: JobUseCases, service: Any) -> None:
    jobs = [desk.create().job.id for _ in range(4)]
    desk.create(tenant="other")
    first, second, third = desk.claim(3)
    desk.begin(first.job)
    desk.apply(failed(second.job, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retry_after_seconds=60))
    desk.cancel(next(job for job in jobs if job not in {one.job.id for one in (first, second, third)}))
    seen = await get(service)

    assert seen.jobs == queue.JobCounts(waiting=1, processing=1, generating=1, queued=1, is_exact=True)
    tenants = {one.tenant: one for one in seen.tenants}
    assert sum(one.jobs.waiting + one.jobs.queued for one in tenants.values()) == seen.jobs.waiting + seen.jobs.queued
    assert seen.tenants[0].tenant == "acme"
    assert seen.oldest_queued_at == min(
        (one.oldest_queued_at for one in seen.tenants if one.HasField("oldest_queued_at")),
        key=lambda at: at.ToNanoseconds(),
    )
    assert seen.unpublished_messages == desk.sql("SELECT count(*) AS n FROM outbox")[0].n > 0


async def test_no_more_tenants_are_told_of_than_a_page_holds(desk: JobUseCases, service: Any) -> None:
    for number in range(store.MAX_TENANTS + 3):
        desk.create(tenant=f"t{number}")
    desk.create(tenant="t7")
    seen = await get(service)

    assert len(seen.tenants) == store.MAX_TENANTS
    assert seen.tenants[0].tenant == "t7"
    assert seen.jobs.queued == store.MAX_TENANTS + 4


async def test_where_there_are_more_queues_than_are_counted_those_of_the_newest_jobs_are_counted_too(
    desk: JobUseCases, service: Any
) -> None:
    job = desk.create(tenant="z").job
    desk.create(tenant="z")
    desk.sql(
        """INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object(
            'id', 'job_' || n, 'tenant', 't' || n, 'created_at', created_at - interval '1 hour'))).*
        FROM jobs, generate_series(1, :queues) AS n WHERE id = :id""",
        id=job.id,
        queues=store.MAX_QUEUES + 1,
    )
    seen = await get(service)

    assert (seen.tenants[0].tenant, seen.tenants[0].jobs) == ("z", queue.JobCounts(queued=2, is_exact=True))
    assert seen.jobs == queue.JobCounts(queued=store.MAX_QUEUES + 3, is_exact=False)


async def test_what_is_left_to_do_for_final_jobs_is_counted(desk: JobUseCases, service: Any) -> None:
    job = desk.create(provider="paid").job
    [claimed] = desk.claim()
    desk.begin(claimed.job)
    desk.cancel(job.id)
    seen = await get(service)

    assert (seen.open_settlements, seen.open_deletions) == (1, 0)
    assert seen.jobs == queue.JobCounts(is_exact=True)


async def test_providers_are_told_with_what_is_in_use_of_them(desk: JobUseCases, service: Any) -> None:
    desk.create(provider="paid")
    [claimed] = desk.claim()
    desk.begin(claimed.job)
    told = await call(service.ListProviderUse, queue.ListProviderUseRequest(), timeout=PATIENCE)
    by_name = {one.provider.name: one for one in told.providers}

    assert (by_name["paid"].in_use, by_name["paid"].calls_in_last_minute) == (1, 1)
    assert (by_name["procedural"].in_use, by_name["procedural"].calls_in_last_minute) == (0, 0)
    assert by_name["paid"].registered_by == "worker"
    assert by_name["paid"].registered_at.seconds > 0


def test_spend_of_a_provider_is_that_of_its_last_calls_today(
    desk: JobUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        desk.generate(provider="paid")
    one, _, old = desk.sql("SELECT id FROM provider_calls ORDER BY created_at DESC")
    today = desk.run(lambda connection: provider_spend.today(connection, ["paid", "procedural"]))
    desk.sql("UPDATE provider_calls SET cost_micros = 40000 WHERE id = ANY(:ids)", ids=[one.id, old.id])
    desk.sql("UPDATE provider_calls SET created_at = created_at - interval '1 day' WHERE id = :id", id=old.id)
    spent = desk.run(lambda connection: provider_spend.today(connection, ["paid", "procedural"]))
    monkeypatch.setattr(provider_spend, "MAX_COUNTED", 1)
    last = desk.run(lambda connection: provider_spend.today(connection, ["paid"]))["paid"]

    assert (today["paid"].spent_micros, today["paid"].calls_without_cost) == (0, 3)
    assert (spent["paid"].spent_micros, spent["paid"].calls_without_cost) == (40_000, 1)
    assert (spent["procedural"].spent_micros, spent["procedural"].calls_without_cost) == (0, 0)
    assert spent["paid"].since == spent["procedural"].since < last.since
    assert (last.spent_micros, last.calls_without_cost) == (40_000, 0)


async def test_a_job_of_any_tenant_has_its_changes_its_lease_and_its_wait(desk: JobUseCases, service: Any) -> None:
    job, _ = desk.generate(tenant="other")
    held = await call(service.GetAnyJob, queue.GetAnyJobRequest(job_id=job.id), timeout=PATIENCE)
    older = await call(service.GetAnyJob, queue.GetAnyJobRequest(job_id=job.id, events_before=3), timeout=PATIENCE)
    desk.apply(failed(job, retry_after_seconds=20))
    waits = await call(service.GetAnyJob, queue.GetAnyJobRequest(job_id=job.id), timeout=PATIENCE)

    assert (held.tenant, held.lease.worker, held.lease.claim_number) == ("other", "w", 1)
    assert [event.type for event in held.events] == ["job.generating", "job.claimed", "job.submitted"]
    assert ([event.sequence for event in older.events], older.has_older_events) == ([2, 1], False)
    assert not held.job.HasField("wait")
    assert not waits.HasField("lease")
    assert waits.job.wait.reason == job_pb2.WAIT_REASON_RETRY
    assert waits.job.wait.next_try_at == waits.job.run_at
    with pytest.raises(ServiceError, match="INVALID_INPUT"):
        await call(service.GetAnyJob, queue.GetAnyJobRequest(job_id=job.id, events_before=-1), timeout=PATIENCE)


async def test_changes_are_told_a_page_at_a_time(desk: JobUseCases, service: Any) -> None:
    job = desk.create().job
    desk.sql(
        """INSERT INTO job_events (job_id, sequence, type, state, occurred_at, snapshot)
        SELECT job_id, number, 'job.settled', state, occurred_at, snapshot
        FROM job_events, generate_series(2, 150) AS number WHERE job_id = :id""",
        id=job.id,
    )
    newest = await call(service.GetAnyJob, queue.GetAnyJobRequest(job_id=job.id), timeout=PATIENCE)
    request = queue.GetAnyJobRequest(job_id=job.id, events_before=newest.events[-1].sequence)
    rest = await call(service.GetAnyJob, request, timeout=PATIENCE)

    assert [event.sequence for page in (newest, rest) for event in page.events] == [*range(150, 0, -1)]
    assert (newest.has_older_events, rest.has_older_events) == (True, False)


async def test_jobs_that_ended_are_counted_by_minute_and_reason(desk: JobUseCases, service: Any) -> None:
    empty = await call(service.GetThroughput, queue.GetThroughputRequest(), timeout=PATIENCE)
    ids = [desk.create().job.id for _ in range(4)]
    first, second, _ = desk.claim(3)
    for claimed in (first, second):
        desk.apply(failed(claimed.job, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH, retryable=False))
    desk.cancel(next(job_id for job_id in ids if desk.job(job_id).state == "queued"))
    desk.sql("UPDATE jobs SET completed_at = completed_at - interval '90 minutes' WHERE id = :id", id=second.job.id)
    seen = await call(service.GetThroughput, queue.GetThroughputRequest(), timeout=PATIENCE)

    assert (list(empty.minutes), list(empty.failures)) == ([], [])
    hour = 3_600 * 10**9
    assert seen.now.ToNanoseconds() - seen.counted_since.ToNanoseconds() == hour
    counted = [sum(getattr(minute, name) for minute in seen.minutes) for name in ("completed", "failed", "canceled")]
    assert counted == [0, 1, 1]
    assert [(failure.reason, failure.jobs) for failure in seen.failures] == [(Reason.PROVIDER_AUTH, 1)]
    stages = {stage.status: stage.oldest_seconds for stage in seen.stages}
    assert stages[job_pb2.STATUS_PROCESSING] > 0 == stages[job_pb2.STATUS_UPLOADING]


def test_where_more_jobs_ended_than_are_counted_the_response_says_since_when(
    desk: JobUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "MAX_COUNTED", 2)
    for _ in range(3):
        desk.cancel(desk.create().job.id)
    found = desk.run(throughput.read)

    assert sum(minute.canceled for minute in found.minutes) == 2
    ended = desk.sql("SELECT completed_at FROM jobs ORDER BY completed_at DESC")
    assert found.counted_since == ended[1].completed_at
