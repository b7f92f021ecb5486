"""Endpoints that get few or no deliveries can be counted."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Remains of an interrupted run that was building it.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('webhook_endpoints_unhealthy') AND NOT indisvalid"
UNHEALTHY = """CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_endpoints_unhealthy
    ON webhook_endpoints (disabled_reason, id)
    WHERE deleted_at IS NULL AND (disabled_reason IS NOT NULL OR openings > 0)"""


def upgrade() -> None:
    """Adds the index concurrently with running services."""
    with op.get_context().autocommit_block():
        if op.get_bind().execute(text(IS_BROKEN)).first() is not None:
            op.execute("DROP INDEX CONCURRENTLY webhook_endpoints_unhealthy")
        op.execute(UNHEALTHY)
