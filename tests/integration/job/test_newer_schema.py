"""A job-service that runs goes on when the next version's migrations have been applied under it."""

from calotype.error_reasons import Code
from calotype.job.v1 import job_pb2
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from common.postgres import driver_url
from services.job import migrations
from services.job.domain.calls import CallOutcome, CallPhase
from services.job.domain.states import State
from tests.support.job_service.api import Api
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'alembic_version'"


def expand(database_url: str) -> None:
    """Adds what a migration may add: a column to each table, a table, an index, and its revision."""
    engine = create_engine(driver_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        for table in connection.execute(text(TABLES)).scalars().all():
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_the_next_version text"))
        connection.execute(text("CREATE TABLE of_the_next_version (id text PRIMARY KEY)"))
        connection.execute(text("CREATE INDEX of_the_next_versions ON jobs (of_the_next_version)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


async def test_what_runs_and_what_starts_works_beside_the_next_versions_schema(
    api: Api, desk: JobUseCases, database_url: str
) -> None:
    before = await api.create("before the migration", n=2, key="k", end_user="u")
    await api.claim()
    expand(database_url)

    # On connections whose statements were prepared before.
    after = await api.create("after it", key="l")
    assert (await api.create("before the migration", n=2, key="k", end_user="u")).job.id == before.job.id
    assert [(await api.get(job.id)).status for job in (before.job, after.job)] == [
        job_pb2.STATUS_PROCESSING,
        job_pb2.STATUS_QUEUED,
    ]
    assert {job.id for job in (await api.page()).jobs} == {before.job.id, after.job.id}
    assert (await api.cancel(after.job.id)).job.status == job_pb2.STATUS_CANCELED

    # On new ones: a process that starts.
    desk.dispose()
    assert not desk.run(migrations.is_behind)
    first = desk.job(before.job.id)
    call = desk.begin(first, 0)
    desk.apply(failed(first, code=Code.TEMPORARY, calls=(CallOutcome(call_id=call.id, phase=CallPhase.FAILED),)))
    desk.sql("UPDATE jobs SET run_at = clock_timestamp()")
    [again] = desk.claim()
    desk.apply(generated(again.job, desk.begin(again.job)))
    [upload] = desk.claim_uploads()
    desk.apply(stored(upload.job))
    assert desk.get(first.id).job.state is State.COMPLETED
    desk.delete(first.id)
    desk.submit_batch({"key": "1"}, {"key": "2", "provider": "paid"})
    assert len(desk.claim(2)) == 2
