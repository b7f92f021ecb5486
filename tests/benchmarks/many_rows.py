"""Fills a database with jobs: copies of real ones, so that every constraint holds and every trigger runs."""

from collections.abc import Mapping

from sqlalchemy import create_engine
from sqlalchemy import text as statement

from common.database_url import driver_url
from services.job.domain.jobs import Job
from tests.support.job_service.use_cases import JobUseCases, failed, generated, stored

#: Rows of one INSERT.
CHUNK = 100_000
#: Jobs that match the filters of lists, the oldest ones of the tenant that asks.
RARE = 20
COLUMNS = """
SELECT column_name AS name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = 'jobs' AND is_generated = 'NEVER'
"""
COPY = """
INSERT INTO jobs ({names}) SELECT {values}
FROM jobs AS original, generate_series(:first, :last) AS number WHERE original.id = :job_id
"""
#: Values of the columns of a copy, where they differ from the original's; jobs are spread over the tenants.
SPREAD = {
    "id": "'job_' || md5(:name || number)",
    "tenant": "'tenant-' || (number % :tenants + 1)",
    "created_at": "original.created_at - make_interval(secs => number * 0.001 + :age)",
    "run_at": "original.run_at - make_interval(secs => number * 0.001)",
}
FINISHED = """
SELECT jobs.id FROM artifacts JOIN jobs ON jobs.id = artifacts.job_id
WHERE jobs.tenant = :tenant AND jobs.state = 'completed' LIMIT 1
"""
QUEUE = "SELECT id FROM jobs WHERE tenant = :tenant AND state = 'queued'"
#: The tenant that asks.
TENANT = "tenant-1"


def copies(
    desk: JobUseCases,
    job: Job,
    count: int,
    *,
    name: str,
    tenants: int = 1,
    age: float = 0.0,
    changes: Mapping[str, str] | None = None,
) -> None:
    """Adds copies of a job, created `age` seconds earlier; `changes` are SQL expressions by column."""
    values = SPREAD | dict(changes or {})
    columns = [row.name for row in desk.sql(COLUMNS)]
    text = COPY.format(
        names=", ".join(columns), values=", ".join(values.get(column, f"original.{column}") for column in columns)
    )
    for first in range(1, count + 1, CHUNK):
        last = min(first + CHUNK - 1, count)
        desk.sql(text, job_id=job.id, first=first, last=last, name=name, tenants=tenants, age=age)


def fill(desk: JobUseCases, *, queued: int, tenants: int, finished: int, over: int) -> None:
    """Fills an empty database; `over` jobs have been final for so long that the purger deletes them."""
    done = complete(desk)
    desk.create(tenant=TENANT, end_user="rare", metadata={"rare": "yes"}, provider="paid", model="flux")
    [broken] = desk.claim()
    desk.apply(failed(broken.job, retryable=False))
    broken_job = desk.job(broken.job.id)
    copies(desk, broken_job, RARE, name="rare", age=10_000_000)
    copies(desk, done, finished, name="finished", tenants=tenants, age=1_000_000)
    year_ago = {"completed_at": "original.completed_at - interval '1 year'"}
    copies(desk, done, over, name="over", age=50_000_000, changes=year_ago)
    copies(desk, desk.create(tenant=TENANT).job, queued - 1, name="queued", tenants=tenants)
    desk.sql("DELETE FROM outbox")


def known_jobs(desk: JobUseCases) -> dict[str, str]:
    """Returns ids of jobs of `TENANT`: a `finished` one, and the `front` and `back` of its queue."""
    front, back = (
        desk.sql(f"{QUEUE} ORDER BY priority {order}, run_at {order}, id {order} LIMIT 1", tenant=TENANT)
        for order in ("ASC", "DESC")
    )
    [finished] = desk.sql(FINISHED, tenant=TENANT)
    return {"finished": finished.id, "front": front[0].id, "back": back[0].id}


def complete(desk: JobUseCases, tenant: str = TENANT) -> Job:
    """Takes a job through all stages; returns it as completed."""
    desk.create(tenant=tenant)
    [claimed] = desk.claim()
    call = desk.begin(claimed.job)
    desk.apply(generated(desk.job(claimed.job.id), call))
    [uploading] = desk.claim_uploads()
    desk.apply(stored(uploading.job))
    return desk.job(claimed.job.id)


def vacuum(url: str) -> None:
    """Removes dead rows that no snapshot needs, and updates the planner's statistics."""
    administer(url, "VACUUM (ANALYZE)")


def administer(url: str, *commands: str) -> None:
    """Runs commands that must not be in a transaction."""
    engine = create_engine(driver_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for command in commands:
            connection.execute(statement(command))
    engine.dispose()
