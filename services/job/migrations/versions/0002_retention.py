"""Indexes by which the purger finds rows whose retention has ended."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDEXES = (
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS final_jobs_by_age ON jobs (completed_at)
    WHERE completed_at IS NOT NULL AND deleted_at IS NULL""",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS tombstones_by_age ON jobs (deleted_at) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (created_at)",
)


def upgrade() -> None:
    """Creates them concurrently with running services, which is impossible in a transaction."""
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
