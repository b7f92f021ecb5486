"""Claims know the load of each tenant without counting every tenant, and serve the least loaded one."""

import random
from collections import Counter

import pytest

from common.sql import Connection, text
from services.job.application import claim_choice
from services.job.domain.jobs import Job
from tests.support.job_service.use_cases import JobUseCases

COPY_JOBS = """
INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object(
    'id', md5(number || '/' || each || state), 'tenant', 'tenant-' || number))).*
FROM jobs, generate_series(1, :tenants) AS number, generate_series(1, :each) AS each WHERE tenant = 'acme'
"""
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables
WHERE relname IN ('jobs', 'lanes', 'tenant_load', 'tenant_turns', 'load_changes')
"""
IN_FLIGHT = "SELECT tenant, count(*) AS n FROM jobs WHERE state IN ('processing', 'generating') GROUP BY tenant"


def test_the_least_loaded_tenant_is_served_whoever_ends_when(
    desk: JobUseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_choice, "SPARE_TENANTS", 1)
    tenants = [f"tenant-{number}" for number in range(8)]
    for tenant in tenants * 4:
        desk.create(tenant=tenant)
    chance = random.Random(7)
    running: list[Job] = []
    while len(running) < 24:
        before = Counter({row.tenant: row.n for row in desk.sql(IN_FLIGHT)})
        [claimed] = desk.claim()
        assert before[claimed.job.tenant] == min(before[tenant] for tenant in tenants)
        running.append(claimed.job)
        for _ in range(chance.randrange(2)):
            ended = running.pop(chance.randrange(len(running)))
            desk.cancel(ended.id, tenant=ended.tenant)
            desk.create(tenant=ended.tenant)


@pytest.mark.parametrize("change", ["a job ends", "the limit is raised"])
def test_a_tenant_at_its_limit_is_found_again(desk: JobUseCases, change: str) -> None:
    for number in range(40):
        desk.create(tenant=f"tenant-{number}")
        desk.create(tenant=f"tenant-{number}")
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) SELECT DISTINCT tenant, 1 FROM jobs")
    claimed = desk.claim(64)
    assert len(claimed) == 40
    assert desk.claim(1) == []
    if change == "a job ends":
        desk.cancel(claimed[17].job.id, tenant=claimed[17].job.tenant)
    else:
        desk.sql("UPDATE tenant_load SET max_in_flight = 2 WHERE tenant = :tenant", tenant=claimed[17].job.tenant)

    assert [one.job.tenant for one in desk.claim(1)] == [claimed[17].job.tenant]
    assert desk.claim(1) == []


def test_what_an_older_job_service_claims_counts(desk: JobUseCases) -> None:
    for tenant in ("a", "b"):
        desk.create(tenant=tenant)
    desk.claim(2)
    for tenant in ("a", "a", "b"):
        desk.create(tenant=tenant)
    # It knows of no loads.
    desk.sql("UPDATE lanes SET load = 0")
    desk.sql("INSERT INTO tenant_load (tenant, max_in_flight) VALUES ('a', 1)")

    assert [one.job.tenant for one in desk.claim(3)] == ["b"]


def test_a_claim_reads_as_many_rows_of_a_thousand_tenants_as_of_ten(desk: JobUseCases) -> None:
    def rows_read(connection: Connection) -> int:
        before = connection.execute(text(ROWS_READ)).scalar_one()
        assert len(desk.on(connection).claim(1)) == 1
        return int(connection.execute(text(ROWS_READ)).scalar_one() - before)

    def claim_among(tenants: int, each: int) -> int:
        desk.sql(COPY_JOBS, tenants=tenants, each=each)
        desk.sql("ANALYZE")
        desk.claim(1)
        return desk.run(rows_read)

    desk.create()
    desk.create()
    desk.claim()
    # As many jobs of each tenant wait as run.
    few = claim_among(10, 20)
    desk.sql("DELETE FROM jobs WHERE tenant <> 'acme'")
    many = claim_among(1_000, 2)

    assert many < 1.5 * few
