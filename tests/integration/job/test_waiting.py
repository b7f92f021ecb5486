"""Nobody waits while holding what everybody needs: the lock of all claims, a tenant's locks, the connections."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from calotype.job.v1 import job_pb2, worker_service_pb2

from common.grpc_client import call
from common.sql import Connection, text
from services.job.domain.quotas import Quota
from services.job.domain.refusals import Refusal
from services.job.store import breakers, claim_locks, jobs
from services.job.store.pools import CONNECTIONS, POOLS, Pool
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import FREE, JobUseCases, open_transaction
from tests.support.patience import PATIENCE

BOUNDED = Quota(max_in_flight=4, max_queued=9, max_high_priority=9, requests_per_minute=99)
INPUTS = {0: b"a picture"}
#: Whoever writes pictures waits.
NO_PICTURES = text("LOCK TABLE job_inputs IN EXCLUSIVE MODE")


def test_a_submit_that_is_not_over_holds_up_no_claim(desk: JobUseCases) -> None:
    for tenant in ("bounded", "other"):
        desk.submit(tenant=tenant, quota=BOUNDED)
    with ThreadPoolExecutor(1) as threads:
        raised = Quota(max_in_flight=5)
        with open_transaction(desk, lambda c: desk.on(c).submit(tenant="bounded", quota=raised)):
            claimed = threads.submit(desk.claim, 2).result(PATIENCE)

    assert {one.job.tenant for one in claimed} == {"bounded", "other"}


def test_submits_of_a_tenant_wait_for_each_other_only_where_they_are_counted(desk: JobUseCases) -> None:
    quota = Quota(max_in_flight=4)
    desk.submit(quota=quota)
    with ThreadPoolExecutor(1) as threads, open_transaction(desk, lambda c: desk.on(c).submit(quota=quota)):
        threads.submit(desk.submit, quota=quota).result(PATIENCE)


def test_pictures_are_written_before_what_others_of_the_tenant_wait_for(desk: JobUseCases) -> None:
    with ThreadPoolExecutor(2) as threads:
        with open_transaction(desk, lambda c: c.execute(NO_PICTURES)):
            large = threads.submit(desk.submit, quota=BOUNDED, input_images=INPUTS)
            desk.await_blocked()
            threads.submit(desk.submit, quota=BOUNDED).result(PATIENCE)
        job = large.result(PATIENCE).snapshot.job

    assert [row.job_id for row in desk.sql("SELECT job_id FROM job_inputs")] == [job.id]


@pytest.mark.parametrize("quota", [Quota(max_queued=0), Quota(requests_per_minute=0)])
def test_no_pictures_are_written_for_a_job_that_is_one_too_many(desk: JobUseCases, quota: Quota) -> None:
    with ThreadPoolExecutor(1) as threads, open_transaction(desk, lambda c: c.execute(NO_PICTURES)):
        refused = threads.submit(desk.submit, quota=quota, input_images=INPUTS).exception(PATIENCE)

    assert isinstance(refused, Refusal)
    assert refused.reason == "QUOTA_EXCEEDED"


def test_a_claim_that_is_frozen_loses_its_locks(desk: JobUseCases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_locks, "IDLE_MS", 2_000)
    for _ in range(2):
        desk.submit(quota=Quota(max_in_flight=2))
    with ThreadPoolExecutor(1) as threads:
        with open_transaction(desk, lambda c: desk.on(c).claim()) as frozen:
            assert len(threads.submit(desk.claim, 2).result(PATIENCE)) == 2
        assert frozen.exception(PATIENCE) is not None


def test_a_claim_that_tries_a_breaker_does_not_wait_for_who_writes_it(desk: JobUseCases) -> None:
    desk.sql(
        "INSERT INTO breakers (provider, model, failures, code, reason, opened_at, open_until) VALUES"
        " ('paid', 'flux', 5, 'TEMPORARY', 'PROVIDER_UNAVAILABLE', clock_timestamp(), clock_timestamp())"
    )
    desk.create(provider="paid")
    [route] = desk.run(breakers.all_breakers)
    with ThreadPoolExecutor(1) as threads, open_transaction(desk, lambda c: breakers.lock(c, [route])):
        assert len(threads.submit(desk.claim).result(PATIENCE)) == 1


async def test_whatever_kind_of_call_waits_the_other_kinds_are_answered(desk: JobUseCases, api: Api) -> None:
    desk.register(replace(FREE, capabilities=replace(FREE.capabilities, max_input_images=1)))
    held, locked = (await api.create()).job.id, (await api.create()).job.id
    [lease] = [one.lease for one in await api.claim() if one.lease.job_id == held]

    def stop_everybody(connection: Connection) -> None:
        claim_locks.lock_claiming(connection)
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(NO_PICTURES)
        jobs.lock_job(connection, locked)

    with open_transaction(desk, stop_everybody):
        picture = job_pb2.InputImage(data=b"a picture")
        waiting = [
            asyncio.create_task(one)
            for _ in range(CONNECTIONS)
            for one in (api.claim(), api.create(input_images=[picture]), api.cancel(locked))
        ]
        await asyncio.to_thread(desk.await_blocked, POOLS[Pool.CLAIMS] + POOLS[Pool.INPUTS] + POOLS[Pool.WRITES])
        assert (await api.get(held)).status == job_pb2.STATUS_PROCESSING
        assert (await api.page()).jobs
        renewal = worker_service_pb2.RenewLeasesRequest(leases=[lease])
        assert (await call(api.work.RenewLeases, renewal, timeout=PATIENCE)).renewals
        await api.database.ping()
        assert not any(one.done() for one in waiting)
    assert len(await asyncio.gather(*waiting)) == 3 * CONNECTIONS
