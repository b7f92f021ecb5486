"""Indexes by which the stale-job monitor finds queued jobs that are late, however many wait."""

from alembic import op
from sqlalchemy import text

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# Each is for statements about its own column only, as its condition says: the planner must not take it for a small
# index of all queued jobs.
INDEXES = {
    "queued_jobs_by_wait": """CREATE INDEX CONCURRENTLY IF NOT EXISTS queued_jobs_by_wait
    ON jobs (queued_at) WHERE state = 'queued' AND queued_at IS NOT NULL""",
    "queued_jobs_by_start": """CREATE INDEX CONCURRENTLY IF NOT EXISTS queued_jobs_by_start
    ON jobs (start_by) WHERE state = 'queued' AND started_at IS NULL AND start_by IS NOT NULL""",
    "queued_jobs_by_end": """CREATE INDEX CONCURRENTLY IF NOT EXISTS queued_jobs_by_end
    ON jobs (finish_by) WHERE state = 'queued' AND finish_by IS NOT NULL""",
}
# Remains of an interrupted run that was building it.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"


def upgrade() -> None:
    """Adds them concurrently with running services."""
    with op.get_context().autocommit_block():
        for name, statement in INDEXES.items():
            if op.get_bind().execute(text(IS_BROKEN), {"name": name}).first() is not None:
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            op.execute(statement)
