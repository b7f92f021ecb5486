"""Idempotency keys are stored as digests: they may contain personal data, and outlive their jobs."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# A job-service of the version before finds keys as they were sent. They are stored so while one may still run; in an
# empty database there is none.
SINCE = """
CREATE TABLE IF NOT EXISTS idempotency_digests (since timestamptz NOT NULL);
INSERT INTO idempotency_digests
SELECT clock_timestamp() + CASE WHEN EXISTS (SELECT FROM jobs) THEN interval '1 day' ELSE interval '0' END
WHERE NOT EXISTS (SELECT FROM idempotency_digests)
"""

IN_CLEAR = """CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_in_clear
ON idempotency_keys (created_at) WHERE key NOT LIKE 'sha256 %'"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(SINCE)
    with op.get_context().autocommit_block():
        op.execute(IN_CLEAR)
