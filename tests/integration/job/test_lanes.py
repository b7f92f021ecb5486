"""Claims look where lanes say that something may be due; no due job is without one, and nobody waits for one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import uuid4

import pytest
from calotype.error_reasons import Code

from common.sql import Connection, text
from tests.support.job_service.use_cases import JobUseCases, failed, open_transaction
from tests.support.patience import PATIENCE

#: Only time moves: no job is written, as a trigger would see it.
HOURS_PASS = """
SET LOCAL session_replication_role = replica;
UPDATE jobs SET run_at = run_at - interval '3 hours';
UPDATE lanes SET wakes_at = wakes_at - interval '3 hours'
"""
COPY_JOBS = """
INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object(
    'id', md5(number || '/' || each), 'tenant', 'tenant-' || number))).*
FROM jobs, generate_series(1, :tenants) AS number, generate_series(1, :each) AS each
"""
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables
WHERE relname IN ('jobs', 'lanes', 'tenant_load', 'tenant_turns')
"""


def test_a_lane_that_was_emptied_during_a_submit_still_leads_to_its_job(desk: JobUseCases) -> None:
    first = desk.create().job
    with open_transaction(desk, lambda c: desk.on(c).create()), ThreadPoolExecutor(1) as threads:
        claimed = threads.submit(desk.claim, 2).result(PATIENCE)

    assert [one.job.id for one in claimed] == [first.id]
    assert len(desk.claim(2)) == 1


def test_a_submit_does_not_wait_for_the_claim_that_empties_its_lane(desk: JobUseCases) -> None:
    desk.create()
    with open_transaction(desk, lambda c: desk.on(c).claim(2)), ThreadPoolExecutor(1) as threads:
        late = threads.submit(desk.create).result(PATIENCE).job

    assert [one.job.id for one in desk.claim(2)] == [late.id]


def test_a_claim_that_was_undone_leaves_its_lanes(desk: JobUseCases) -> None:
    desk.create()

    def die(connection: Connection) -> None:
        assert desk.on(connection).claim(2)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        desk.run(die)
    assert len(desk.claim(2)) == 1


def test_a_job_that_waits_for_its_time_is_found_when_it_has_come(desk: JobUseCases) -> None:
    job = desk.create().job
    [claimed] = desk.claim()
    desk.apply(failed(claimed.job, code=Code.RATE_LIMIT, retry_after_seconds=3_600.0))
    assert desk.claim() == []
    desk.sql(HOURS_PASS)

    assert [one.job.id for one in desk.claim()] == [job.id]


def test_who_waits_for_a_time_keeps_no_later_job_waiting(desk: JobUseCases) -> None:
    desk.create()
    [claimed] = desk.claim()
    desk.apply(failed(claimed.job, code=Code.RATE_LIMIT, retry_after_seconds=3_600.0))
    assert desk.claim() == []
    later = desk.create().job

    assert [one.job.id for one in desk.claim(2)] == [later.id]


def test_many_tenants_are_served_in_turns(desk: JobUseCases) -> None:
    tenants = {f"tenant-{number}" for number in range(2 * 17)}
    for tenant in [*tenants, *tenants]:
        desk.create(tenant=tenant)
    rounds = [{desk.claim()[0].job.tenant for _ in tenants} for _ in range(2)]

    assert rounds == [tenants, tenants]


def test_what_was_canceled_does_not_stand_in_the_way(desk: JobUseCases) -> None:
    gone = [desk.create(tenant=f"tenant-{number}").job for number in range(40)]
    waiting = desk.create().job
    for job in gone:
        desk.cancel(job.id, tenant=job.tenant)

    assert [one.job.id for one in desk.claim(1)] == [waiting.id]


def test_a_tenant_that_may_have_no_job_at_work_keeps_nobody_waiting(desk: JobUseCases) -> None:
    for number in range(40):
        desk.create(tenant=f"tenant-{number}")
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) SELECT tenant, 0 FROM jobs")
    waiting = desk.create().job

    assert [one.job.id for one in desk.claim(1)] == [waiting.id]


def test_no_lanes_are_left_of_what_is_done(desk: JobUseCases) -> None:
    for tenant in ("a", "b", "b"):
        desk.create(tenant=tenant)
    desk.claim(3)

    assert desk.sql("SELECT 1 FROM lanes") == []


def test_a_lane_that_stands_twice_is_one(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    desk.sql(
        "INSERT INTO lanes (tenant, provider, model, fallback) SELECT tenant, provider, model, fallback FROM lanes"
    )

    assert len({one.job.id for one in desk.claim(2)}) == 2
    assert len(desk.sql("SELECT 1 FROM lanes")) == 1


@pytest.mark.parametrize(("tenants", "each"), [(3_000, 1), (1, 5_000)])
def test_a_claim_reads_no_more_rows_when_more_jobs_and_tenants_wait(desk: JobUseCases, tenants: int, each: int) -> None:
    def rows_read(connection: Connection) -> int:
        # What this connection did before may be counted still.
        before = connection.execute(text(ROWS_READ)).scalar_one()
        assert len(desk.on(connection).claim(1)) == 1
        return int(connection.execute(text(ROWS_READ)).scalar_one() - before)

    desk.create()
    desk.sql(COPY_JOBS, tenants=tenants, each=each)
    desk.sql("ANALYZE")

    assert desk.run(rows_read) < 500


def test_no_job_is_forgotten_by_claims_and_submits_at_once(desk: JobUseCases) -> None:
    over = Event()

    def submit(number: int) -> None:
        for turn in range(25):
            desk.create(tenant=f"tenant-{(number + turn) % 5}")

    def claim(_: int) -> list[str]:
        found: list[str] = []
        while not over.is_set():
            found += [one.job.id for one in desk.claim(tokens=[uuid4(), uuid4(), uuid4()])]
        return found

    with ThreadPoolExecutor(6) as threads:
        claiming = [threads.submit(claim, number) for number in range(2)]
        for done in [threads.submit(submit, number) for number in range(4)]:
            done.result(PATIENCE)
        # What was there before is found by the claims that follow: nobody has to come and wake them.
        rest = [one.job.id for _ in range(100 // 64 + 1) for one in desk.claim(64)]
        over.set()
        claimed = [job for one in claiming for job in one.result(PATIENCE)] + rest

    assert len(claimed) == len(set(claimed)) == 100
    assert desk.claim() == []
    assert desk.sql("SELECT 1 FROM lanes") == []
