"""Final events get a position in a feed after their commit, so that readers miss none."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FEED = """
-- Position of a final event: assigned after its commit, not before it occurred, later than all earlier positions.
ALTER TABLE job_events ADD COLUMN IF NOT EXISTS feed_time timestamptz;
-- One row: the lock under which positions are assigned, and the last position.
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
    """Adds it concurrently with running services, whose events get their positions from newer ones."""
    op.execute(FEED)
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
