"""Metrics of job-service: counted by the transaction that was committed, and read where nothing is counted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from common.postgres import Database
from common.telemetry import metrics
from services.job.loops.gauges import SharedGauges
from services.job.store import ages
from tests.support.brokers.facts import broker_at
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored


@pytest.fixture
async def database(desk: JobUseCases, database_url: str) -> AsyncIterator[Database]:
    """The database, as a service opens it."""
    opened = Database(database_url, application="test", pool_size=4)
    yield opened
    await opened.close()


def values() -> dict[tuple[str, ...], float]:
    """Samples by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.PROCESS.collect()
        for sample in family.samples
        if sample.name.startswith("calotype_")
    }


class Growth:
    """What was added to counters since it was made."""

    def __init__(self) -> None:
        self._before = values()

    def __call__(self, *key: str) -> float:
        return values().get(key, 0.0) - self._before.get(key, 0.0)


async def do(database: Database, desk: JobUseCases, work: Any) -> Any:
    """Runs use cases in one transaction of the service's own kind."""
    return await database.run(lambda connection: work(desk.on(connection)))


async def test_a_job_is_counted_on_its_whole_way(database: Database, desk: JobUseCases) -> None:
    grown = Growth()
    await do(database, desk, lambda d: d.create(provider="paid"))
    [claimed] = await do(database, desk, lambda d: d.claim())
    call = await do(database, desk, lambda d: d.begin(claimed.job, 0))
    await do(database, desk, lambda d: d.apply(generated(claimed.job, call, cost=40_000)))
    [upload] = await do(database, desk, lambda d: d.claim_uploads())
    await do(database, desk, lambda d: d.apply(stored(upload.job)))

    name = "calotype_job_transitions_total"
    assert grown(name, "job.submitted", "none", "queued") == 1
    assert grown(name, "job.claimed", "queued", "processing") == 1
    assert grown(name, "job.generating", "processing", "generating") == 1
    assert grown(name, "job.uploading", "generating", "uploading") == 1
    assert grown(name, "job.completed", "uploading", "completed") == 1
    for stage, target in (("queued", "processing"), ("generating", "uploading"), ("uploading", "completed")):
        assert grown("calotype_job_stage_duration_seconds_count", stage, target) == 1
    assert grown("calotype_job_duration_seconds_count", "completed") == 1
    assert grown("calotype_attempts_total", "succeeded") == 2
    assert grown("calotype_provider_calls_begun_total", "paid", call.model) == 1
    assert grown("calotype_provider_calls_settled_total", "paid", call.model, "succeeded") == 1
    assert grown("calotype_spend_micros_total", "paid", call.model) == 40_000
    assert grown("calotype_facts_applied_total", "moved") == 2


async def test_what_is_rolled_back_is_not_counted(database: Database, desk: JobUseCases) -> None:
    grown = Growth()

    def create_and_fail(use_cases: JobUseCases) -> None:
        use_cases.create()
        raise RuntimeError("rolled back")

    with pytest.raises(RuntimeError):
        await do(database, desk, create_and_fail)

    assert grown("calotype_job_transitions_total", "job.submitted", "none", "queued") == 0
    assert grown("calotype_database_transaction_duration_seconds_count", "rolled_back") == 1


async def test_a_failure_is_counted_by_stage_code_and_reason(database: Database, desk: JobUseCases) -> None:
    grown = Growth()
    await do(database, desk, lambda d: d.create())
    [claimed] = await do(database, desk, lambda d: d.claim())
    fact = failed(claimed.job)
    await do(database, desk, lambda d: d.apply(fact))

    labels = (fact.failure.stage, fact.failure.code, str(fact.failure.reason))
    assert grown("calotype_attempt_failures_total", *labels) == 1


async def test_the_oldest_due_work_is_known_by_kind(database: Database, desk: JobUseCases, nats_url: str) -> None:
    waiting = desk.create().job
    desk.sql(f"UPDATE jobs SET run_at = run_at - interval '100 s' WHERE id = '{waiting.id}'")
    async with broker_at(nats_url) as broker:
        await SharedGauges(database, broker).run_once()
    seen = values()

    assert 100 <= seen["calotype_oldest_due_seconds", "job"] < 1_000
    assert 0 < seen["calotype_oldest_due_seconds", "outbox"] < 1_000
    assert seen["calotype_oldest_due_seconds", "upload"] == seen["calotype_oldest_due_seconds", "deletion"] == 0


async def test_a_job_that_stays_in_a_stage_is_seen(database: Database, desk: JobUseCases, nats_url: str) -> None:
    desk.create()
    [claimed] = desk.claim()
    desk.begin(claimed.job, 0)
    desk.sql(f"UPDATE jobs SET generating_since = generating_since - interval '100 s' WHERE id = '{claimed.job.id}'")
    async with broker_at(nats_url) as broker:
        await SharedGauges(database, broker).run_once()
    seen = values()

    assert 100 <= seen["calotype_oldest_in_stage_seconds", "generating"] < 1_000
    assert seen["calotype_oldest_in_stage_seconds", "processing"] == 0
    assert seen["calotype_oldest_in_stage_seconds", "uploading"] == 0


@pytest.mark.parametrize(
    ("statement", "parameters", "most"),
    [
        (
            ages.OLDEST_DUE,
            {"lanes": ages.MAX_LANES, "priorities": ages.PRIORITIES, "uploads": ages.MAX_UPLOADS},
            100,
        ),
        (ages.OLDEST_IN_STAGE, {"states": list(ages.STAGES), "jobs": ages.MAX_IN_STAGE}, 100),
    ],
    ids=["due", "in a stage"],
)
async def test_ages_are_read_by_indexes_however_much_waits(
    database: Database, desk: JobUseCases, statement: str, parameters: dict[str, Any], most: int
) -> None:
    desk.create()
    desk.sql(
        "INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object('id', 'job_' || n))).*"
        " FROM jobs, generate_series(1, 5000) AS n"
    )
    desk.sql("ANALYZE jobs")
    plan = await database.run(
        lambda c: "\n".join(
            c.execute(
                text("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + statement),
                parameters,
            ).scalars()
        )
    )
    assert "Seq Scan on jobs" not in plan, plan
    rows = [int(float(part.split("rows=")[1].split()[0])) for part in plan.splitlines() if "rows=" in part]
    assert max(rows) < most, plan
