"""Where a job may go: fallbacks, breakers per provider and model, and what held a job back last."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROUTING = """
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS fallback text[] NOT NULL DEFAULT '{}';
-- why a limit put the job back without an attempt, the last time
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS deferral jsonb;
CREATE TABLE IF NOT EXISTS breakers (
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    -- in a row; a call that went well takes the whole row away
    failures integer NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz,
    open_until timestamptz,
    -- one job tries whether the provider is well again, until then
    probe_until timestamptz,
    PRIMARY KEY (provider, model),
    CONSTRAINT an_open_breaker_knows_since_when_and_until CHECK ((opened_at IS NULL) = (open_until IS NULL))
);
"""
INDEXES = (
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS queued_jobs_by_lane
    ON jobs (tenant, provider, model, fallback, priority, run_at, id) WHERE state = 'queued'""",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS provider_calls_by_time ON provider_calls (provider, created_at)",
)


def upgrade() -> None:
    """Add them beside running services."""
    op.execute(ROUTING)
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
