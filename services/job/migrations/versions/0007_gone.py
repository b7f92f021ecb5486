"""Deletions are kept until every writer has ended; buckets are compared with the database, page by page."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

GONE = """
-- null in older rows, whose writers have ended
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS asked_at timestamptz;
ALTER TABLE deletions ALTER COLUMN asked_at SET DEFAULT clock_timestamp();
-- of the current claim: time of the next check, even if the folder is empty now; null: this check is the last one
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS look_again_at timestamptz;
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS seen_empty_at timestamptz;
CREATE TABLE IF NOT EXISTS sweeps (
    bucket text PRIMARY KEY,
    -- names up to this one have been compared in this pass
    reached text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    token uuid,
    claimed_at timestamptz,
    -- missing objects of the current pass so far, and of the whole pass before it
    missing bigint NOT NULL,
    missing_before bigint NOT NULL,
    CONSTRAINT a_sweep_is_of_one_bucket CHECK (bucket IN ('staging', 'public'))
);
"""
INDEX = """CREATE INDEX CONCURRENTLY IF NOT EXISTS folders_never_seen_empty
ON deletions (asked_at) WHERE seen_empty_at IS NULL"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(GONE)
    with op.get_context().autocommit_block():
        op.execute(INDEX)
