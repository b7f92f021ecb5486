"""Claims find due jobs by lanes, and record turns in separate rows; input images are written before their job."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# `tenant_load` keeps the limits of quotas. An older job-service still records turns there.
TURNS = """
CREATE TABLE IF NOT EXISTS tenant_turns (
    tenant text COLLATE "C" PRIMARY KEY,
    last_claimed_at timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO tenant_turns SELECT tenant, last_claimed_at FROM tenant_load WHERE last_claimed_at IS NOT NULL
ON CONFLICT (tenant) DO NOTHING;
"""
INPUTS = """
ALTER TABLE job_inputs ALTER CONSTRAINT job_inputs_job_id_fkey DEFERRABLE INITIALLY DEFERRED
"""

# Lanes are explained in services/job/store/lanes.py. A trigger maintains them, so that jobs of an older job-service
# are found, too.
LANES = """
CREATE TABLE IF NOT EXISTS lanes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    fallback text[] NOT NULL,
    -- the last claim of its tenant
    last_claimed_at timestamptz,
    -- time at which its first job becomes due; null for a lane that may have a due job
    wakes_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX IF NOT EXISTS lanes_by_turn ON lanes (provider, model, fallback, last_claimed_at NULLS FIRST, id)
    WHERE wakes_at IS NULL;
CREATE INDEX IF NOT EXISTS lanes_by_waking ON lanes (wakes_at) WHERE wakes_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS lanes_of_a_tenant ON lanes (tenant, provider, model, fallback);

CREATE OR REPLACE FUNCTION keep_a_lane() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM lanes
        WHERE tenant = NEW.tenant AND provider = NEW.provider AND model = NEW.model AND fallback = NEW.fallback
            AND (wakes_at IS NULL OR wakes_at <= NEW.run_at)
        LIMIT 1 FOR KEY SHARE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO lanes (tenant, provider, model, fallback, last_claimed_at, wakes_at)
        SELECT NEW.tenant, NEW.provider, NEW.model, NEW.fallback,
            (SELECT last_claimed_at FROM tenant_turns WHERE tenant = NEW.tenant),
            CASE WHEN NEW.run_at > clock_timestamp() THEN NEW.run_at END;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER a_queued_job_has_a_lane AFTER INSERT OR UPDATE OF state, run_at ON jobs
    FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION keep_a_lane();
"""
# After the trigger, whose creation waits for transactions that write jobs: their jobs are seen here.
LANES_OF_BEFORE = """
INSERT INTO lanes (tenant, provider, model, fallback, last_claimed_at)
SELECT tenant, provider, model, fallback, last_claimed_at
FROM (SELECT DISTINCT tenant, provider, model, fallback FROM jobs WHERE state = 'queued') AS waiting
LEFT JOIN tenant_turns USING (tenant)
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(TURNS)
    op.execute(INPUTS)
    op.execute(LANES)
    with op.get_context().autocommit_block():
        op.execute(LANES_OF_BEFORE)
