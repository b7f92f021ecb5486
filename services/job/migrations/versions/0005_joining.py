"""Finds requests by fingerprint, so that a repetition without a key joins the first one's job."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = """CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_by_fingerprint
ON idempotency_keys (tenant, fingerprint, created_at)"""


def upgrade() -> None:
    """Adds it concurrently with running services."""
    with op.get_context().autocommit_block():
        op.execute(INDEX)
