"""Final events get a place in a feed once they are committed, so that whoever reads it misses none."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FEED = """
-- The place of a final event: given after its commit, no earlier than it occurred, later than all places before it.
ALTER TABLE job_events ADD COLUMN IF NOT EXISTS feed_time timestamptz;
-- One row: the lock under which places are given, and the last one.
CREATE TABLE IF NOT EXISTS final_event_feed (
    is_only boolean PRIMARY KEY DEFAULT true,
    last_time timestamptz NOT NULL,
    CONSTRAINT there_is_one_feed CHECK (is_only)
);
INSERT INTO final_event_feed (last_time) VALUES ('-infinity') ON CONFLICT DO NOTHING;
"""
INDEXES = (
    """CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS final_events_by_place ON job_events (feed_time)
    WHERE feed_time IS NOT NULL""",
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS final_events_without_place ON job_events (occurred_at, job_id, sequence)
    WHERE feed_time IS NULL AND type IN ('job.completed', 'job.failed', 'job.canceled', 'job.settled')""",
)


def upgrade() -> None:
    """Add it beside running services, whose events have no place and get theirs from newer ones."""
    op.execute(FEED)
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
