"""Many jobs at once, written beside the use cases, and the rows that a query reads among them."""

from collections.abc import Callable
from typing import Any, TypeVar

from common.sql import Connection, text
from tests.support.job_service.use_cases import JobUseCases

T = TypeVar("T")
# Copies of a job, each a second older than the one before; `changes` are columns of the copy as JSON.
COPY = """
INSERT INTO jobs SELECT copied.* FROM jobs AS original
CROSS JOIN generate_series(1, :count) AS number
CROSS JOIN LATERAL jsonb_populate_record(original, CAST(:changes AS jsonb) || jsonb_build_object(
    'id', original.id || '_' || :name || number,
    'created_at', original.created_at - make_interval(secs => number))) AS copied
WHERE original.id = :job_id
"""
ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables
WHERE relname IN ('jobs', 'provider_calls', 'lanes', 'pauses', 'bulk_actions')
"""


def copy(desk: JobUseCases, job_id: str, count: int, *, name: str = "copy", changes: str = "{}") -> None:
    """Adds copies of a job, without its lane, calls and events."""

    def work(connection: Connection) -> None:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(COPY), {"job_id": job_id, "count": count, "name": name, "changes": changes})

    desk.run(work)


def rows_read(desk: JobUseCases, work: Callable[[Connection], T]) -> tuple[int, T]:
    """Rows of jobs and related tables that work reads, and its result."""

    def measured(connection: Connection) -> tuple[Any, T]:
        # Before the first query: work that needs this level could not set it later.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = connection.execute(text(ROWS_READ)).scalar_one()
        result = work(connection)
        return connection.execute(text(ROWS_READ)).scalar_one() - before, result

    rows, result = desk.run(measured)
    return int(rows), result
