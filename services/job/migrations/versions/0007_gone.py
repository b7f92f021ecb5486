"""A deletion is kept until every writer is gone; the buckets are compared with the database, a page at a time."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

GONE = """
-- null in rows from before: their writers are gone
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS asked_at timestamptz;
ALTER TABLE deletions ALTER COLUMN asked_at SET DEFAULT clock_timestamp();
-- of the present claim: when the folder is to be looked at again though it is empty now; null: this look is the last
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS look_again_at timestamptz;
ALTER TABLE deletions ADD COLUMN IF NOT EXISTS seen_empty_at timestamptz;
CREATE TABLE IF NOT EXISTS sweeps (
    bucket text PRIMARY KEY,
    -- names up to this one have been compared in this pass
    reached text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    token uuid,
    claimed_at timestamptz,
    -- objects that should have been there: in this pass so far, and in the whole of the one before
    missing bigint NOT NULL,
    missing_before bigint NOT NULL,
    CONSTRAINT a_sweep_is_of_one_bucket CHECK (bucket IN ('staging', 'public'))
);
"""
INDEX = """CREATE INDEX CONCURRENTLY IF NOT EXISTS folders_never_seen_empty
ON deletions (asked_at) WHERE seen_empty_at IS NULL"""


def upgrade() -> None:
    """Add them beside running services."""
    op.execute(GONE)
    with op.get_context().autocommit_block():
        op.execute(INDEX)
