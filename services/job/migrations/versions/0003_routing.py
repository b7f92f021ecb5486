"""Fallbacks of jobs, circuit breakers per provider and model, and the last deferral of a job."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROUTING = """
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS fallback text[] NOT NULL DEFAULT '{}';
-- failure by which a limit last put the job back without counting an attempt
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS deferral jsonb;
CREATE TABLE IF NOT EXISTS breakers (
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    -- consecutive ones; a successful call deletes the row
    failures integer NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    opened_at timestamptz,
    open_until timestamptz,
    -- end of the current probe
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
    """Adds them concurrently with running services."""
    op.execute(ROUTING)
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
