"""Indexes by which lists find the open jobs of a tenant and the jobs of one of its end users."""

from alembic import op
from sqlalchemy import text

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Jobs that failed or were canceled have an index of their own; the other filters are checked on the jobs of a walk.
INDEXES = {
    "open_jobs_of_tenant": """CREATE INDEX CONCURRENTLY IF NOT EXISTS open_jobs_of_tenant
    ON jobs (tenant, state, created_at DESC, id DESC)
    WHERE state IN ('queued', 'processing', 'generating', 'uploading')""",
    "jobs_of_end_user_of_tenant": """CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_of_end_user_of_tenant
    ON jobs (tenant, end_user, created_at DESC, id DESC) WHERE deleted_at IS NULL AND end_user IS NOT NULL""",
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
