"""A migration that was interrupted while it built an index builds that index anew when it runs again."""

from services.job.migrations import MIGRATIONS
from tests.support.job_service.use_cases import JobUseCases

#: Indexes of the migrations after 0017.
INDEXES = (
    *("open_jobs_of_tenant", "jobs_of_end_user_of_tenant", "lanes_by_load"),
    *("queued_jobs_by_wait", "queued_jobs_by_start", "queued_jobs_by_end"),
)
BROKEN = """
SELECT indexrelid::regclass::text AS name FROM pg_index
WHERE indexrelid::regclass::text = ANY(:names) AND NOT indisvalid
"""


def test_an_index_that_was_not_finished_is_built_anew(desk: JobUseCases, database_url: str) -> None:
    names = list(INDEXES)
    desk.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text = ANY(:names)", names=names)
    assert {row.name for row in desk.sql(BROKEN, names=names)} == set(INDEXES)

    desk.sql("UPDATE alembic_version SET version_num = '0017'")
    MIGRATIONS.upgrade(database_url)
    assert desk.sql(BROKEN, names=names) == []
    assert desk.sql("SELECT version_num FROM alembic_version")[0].version_num == MIGRATIONS.newest_revision
