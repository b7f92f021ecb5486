"""Deliveries can be listed by their job."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Remains of an interrupted run that was building it.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('webhook_deliveries_of_job') AND NOT indisvalid"
DELIVERIES_OF_JOB = """CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_deliveries_of_job
    ON webhook_deliveries (tenant, job_id, id) WHERE job_id IS NOT NULL"""


def upgrade() -> None:
    """Adds the index concurrently with running services."""
    with op.get_context().autocommit_block():
        if op.get_bind().execute(text(IS_BROKEN)).first() is not None:
            op.execute("DROP INDEX CONCURRENTLY webhook_deliveries_of_job")
        op.execute(DELIVERIES_OF_JOB)
