"""Indexes by which operators find jobs of all tenants."""

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# One index has every job, as a list without filters needs it; a scan of each state, merged, serves lists of any states.
# The others have only the rows that a filter can find, most of which are final and written once.
INDEXES = {
    "jobs_by_state": """CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_by_state
    ON jobs (state, created_at DESC, id DESC) WHERE deleted_at IS NULL""",
    "ended_jobs_of_tenant": """CREATE INDEX CONCURRENTLY IF NOT EXISTS ended_jobs_of_tenant
    ON jobs (tenant, state, created_at DESC, id DESC) WHERE deleted_at IS NULL AND state IN ('failed', 'canceled')""",
    "failed_jobs_by_code": """CREATE INDEX CONCURRENTLY IF NOT EXISTS failed_jobs_by_code
    ON jobs (failure_code, created_at DESC, id DESC) WHERE deleted_at IS NULL AND state = 'failed'""",
    "failed_jobs_by_reason": """CREATE INDEX CONCURRENTLY IF NOT EXISTS failed_jobs_by_reason
    ON jobs (failure_reason, created_at DESC, id DESC) WHERE deleted_at IS NULL AND state = 'failed'""",
    "jobs_of_end_user": """CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_of_end_user
    ON jobs (end_user, created_at DESC, id DESC) WHERE deleted_at IS NULL AND end_user IS NOT NULL""",
    "provider_calls_by_operation": """CREATE INDEX CONCURRENTLY IF NOT EXISTS provider_calls_by_operation
    ON provider_calls (operation_id) WHERE operation_id IS NOT NULL""",
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
