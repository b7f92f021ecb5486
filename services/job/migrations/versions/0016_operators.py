"""What operators pause, and indexes by which they find jobs of all tenants."""

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# A row stays after its end, until no job waits from before it: the longest time in the queue counts from there.
PAUSES = """
CREATE TABLE IF NOT EXISTS pauses (
    kind text COLLATE "C" NOT NULL,
    -- provider or tenant
    name text COLLATE "C" NOT NULL,
    note text NOT NULL,
    paused_by text NOT NULL,
    paused_at timestamptz NOT NULL,
    -- null while the pause is in effect
    resumed_at timestamptz,
    PRIMARY KEY (kind, name),
    CONSTRAINT a_pause_is_of_a_provider_a_tenant_or_the_queue CHECK (kind IN ('provider', 'tenant', 'queue')),
    CONSTRAINT the_queue_has_no_name CHECK ((kind = 'queue') = (name = ''))
)
"""

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
    op.execute(PAUSES)
    with op.get_context().autocommit_block():
        for name, statement in INDEXES.items():
            if op.get_bind().execute(text(IS_BROKEN), {"name": name}).first() is not None:
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            op.execute(statement)
