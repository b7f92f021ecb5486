"""Each job goes to one worker, in a fair order, and to the same worker again when its answer was lost."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from services.job.application import claims
from services.job.domain.refusals import Refusal
from services.job.domain.requests import Priority
from services.job.domain.states import State
from services.job.store import jobs
from tests.support.job_service.use_cases import JobUseCases, fence_of, generated, open_transaction
from tests.support.patience import PATIENCE

COPY_JOB = """
INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object(
    'id', 'job_' || lpad(to_hex(number), 32, '0'), 'created_at', jobs.created_at - interval '1 hour',
    'run_at', jobs.run_at - interval '1 hour'))).*
FROM jobs, generate_series(1, 10000) AS number
"""


def test_two_workers_never_hold_one_job(desk: JobUseCases) -> None:
    for _ in range(40):
        desk.create()
    with ThreadPoolExecutor(8) as threads:
        claimed = [one for found in threads.map(lambda _: desk.claim(10), range(8)) for one in found]
    rest = desk.claim(40)
    ids = [one.job.id for one in claimed + rest]

    assert len(ids) == len(set(ids)) == 40


def test_the_same_tokens_give_the_same_jobs(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    tokens = [uuid4(), uuid4()]
    first, again = desk.claim(tokens=tokens), desk.claim(tokens=tokens)

    assert {one.job.id for one in first} == {one.job.id for one in again}
    assert [one.job.claim_number for one in again] == [1, 1]
    assert desk.sql("SELECT count(*) AS n FROM attempts")[0].n == 2


@pytest.mark.parametrize("upload", [False, True])
def test_who_asks_again_has_a_whole_lease_from_then(desk: JobUseCases, upload: bool) -> None:
    job, call = desk.generate()
    if upload:
        desk.apply(generated(job, call))
        [claimed] = desk.claim_uploads()
        job = claimed.job
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 second'")
    token = fence_of(job).lease_token
    [again] = desk.claim_uploads(tokens=[token]) if upload else desk.claim(tokens=[token])
    [left] = desk.sql("SELECT extract(epoch FROM lease_expires_at - updated_at) AS seconds FROM jobs")

    assert fence_of(again.job) == fence_of(job)
    assert again.job.lease == desk.job(job.id).lease
    assert left.seconds >= desk.limits.lease_seconds


def test_tokens_that_were_used_up_give_nothing(desk: JobUseCases) -> None:
    desk.create()
    token = uuid4()
    [claimed] = desk.claim(tokens=[token])
    desk.release(claimed.job)

    assert desk.claim(tokens=[token]) == []
    assert desk.job(claimed.job.id).state is State.QUEUED


def test_a_tenant_with_ten_thousand_jobs_does_not_delay_anothers_one(desk: JobUseCases) -> None:
    desk.create(tenant="crowd")
    desk.sql(COPY_JOB)
    desk.sql("ANALYZE jobs")
    desk.create(tenant="single")
    served = [desk.claim()[0].job.tenant for _ in range(2)]

    assert "single" in served


def test_many_slots_are_shared_between_tenants(desk: JobUseCases) -> None:
    for tenant in ("crowd", "crowd", "crowd", "crowd", "b", "c"):
        desk.create(tenant=tenant)
    first, second = desk.claim(3), desk.claim(3)

    assert sorted(one.job.tenant for one in first) == ["b", "c", "crowd"]
    assert [one.job.tenant for one in second] == ["crowd"] * 3


def test_a_tenant_with_jobs_at_work_waits_for_one_with_none(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create(tenant="early")
    desk.claim(2)
    desk.create(tenant="late")

    assert [one.job.tenant for one in desk.claim(1)] == ["late"]


def test_a_claim_passes_a_job_by_that_somebody_is_changing(desk: JobUseCases) -> None:
    first, second = desk.create().job, desk.create().job
    with open_transaction(desk, lambda c: jobs.lock_job(c, first.id)), ThreadPoolExecutor(1) as threads:
        claimed = threads.submit(desk.claim, 2).result(PATIENCE)

    assert [one.job.id for one in claimed] == [second.id]


def test_priority_orders_a_tenants_own_jobs(desk: JobUseCases) -> None:
    low, high = desk.create(priority=Priority.LOW), desk.create(priority=Priority.HIGH)

    assert [one.job.id for one in desk.claim(1) + desk.claim(1)] == [high.job.id, low.job.id]


def test_only_jobs_of_the_workers_own_providers_are_given(desk: JobUseCases) -> None:
    desk.create(provider="paid")

    assert desk.claim(only=["procedural"]) == []
    assert len(desk.claim(only=["paid"])) == 1


def test_a_job_that_waits_for_a_time_is_not_due(desk: JobUseCases) -> None:
    desk.create()
    desk.sql("UPDATE jobs SET run_at = clock_timestamp() + interval '1 hour'")

    assert desk.claim() == []


def test_a_tenant_at_its_limit_waits(desk: JobUseCases) -> None:
    desk.create()
    desk.create()
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) VALUES ('acme', 1)")

    assert len(desk.claim(2)) == 1
    assert desk.claim(2) == []


def test_a_renewal_tells_what_became_of_each_lease(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    held, canceled, lost = desk.claim(3)
    desk.cancel(canceled.job.id)
    desk.release(lost.job)
    fences = [fence_of(one.job) for one in (held, canceled, lost)]
    answers = desk.run(lambda c: claims.renew_leases(c, fences, limits=desk.limits))

    assert [outcome for _, outcome in answers] == ["renewed", "canceled", "lost"]


def test_an_expired_lease_that_nobody_took_is_renewed(desk: JobUseCases) -> None:
    desk.create()
    [claimed] = desk.claim()
    desk.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 minute'")
    answers = desk.run(lambda c: claims.renew_leases(c, [fence_of(claimed.job)], limits=desk.limits))

    assert answers[0][1] == "renewed"


def test_a_renewal_locks_jobs_in_the_order_that_everybody_takes(desk: JobUseCases) -> None:
    for _ in range(2):
        desk.create()
    first, second = sorted((one.job for one in desk.claim(2)), key=lambda job: job.id)
    fences = [fence_of(second), fence_of(first)]
    with ThreadPoolExecutor(1) as threads:
        with open_transaction(desk, lambda c: jobs.lock_job(c, first.id)):
            renewing = threads.submit(desk.run, lambda c: claims.renew_leases(c, fences, limits=desk.limits))
            desk.await_blocked()
            # It waits for the first and does not hold the second, which whoever has the first may want next.
            desk.sql("SELECT 1 FROM jobs WHERE id = :id FOR UPDATE NOWAIT", id=second.id)
        assert [outcome for _, outcome in renewing.result(PATIENCE)] == ["renewed", "renewed"]


def test_a_claim_needs_different_tokens(desk: JobUseCases) -> None:
    token = uuid4()

    with pytest.raises(Refusal, match="different lease tokens"):
        desk.claim(tokens=[token, token])


def test_the_same_tokens_asked_at_once_give_the_same_jobs(desk: JobUseCases) -> None:
    for _ in range(2):
        desk.create()
    tokens = [uuid4(), uuid4()]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: desk.claim(tokens=tokens), range(4)))
    given = [{fence_of(one.job) for one in answer} for answer in answers]

    assert len(given[0]) == 2
    assert given == [given[0]] * 4
    assert len(desk.sql("SELECT 1 FROM attempts")) == 2


def test_upload_claims_are_given_again_too(desk: JobUseCases) -> None:
    job, call = desk.generate()
    desk.apply(generated(job, call))
    tokens = [uuid4()]

    def ask() -> list[claims.Claimed]:
        return desk.run(lambda c: claims.claim_uploads(c, worker="u", tokens=tokens, limits=desk.limits))

    assert [fence_of(one.job) for one in ask()] == [fence_of(one.job) for one in ask()]
    assert desk.claim_uploads() == []


def test_a_claim_that_finds_nothing_leaves_its_tokens_unused(desk: JobUseCases) -> None:
    token = uuid4()
    assert desk.claim(tokens=[token]) == []
    job = desk.create().job

    assert [one.job.id for one in desk.claim(tokens=[token])] == [job.id]
