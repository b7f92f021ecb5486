"""Use of providers: slots of calls, resent calls, polls of open calls, probes, and registrations.

Beside this schema an older job-service goes on as it was: what it leaves out is null, and null is its rule.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PLACES = """
-- end of the time for which a call holds its slot, where its phase does not show it: it was sent again, or its end was
-- not reported. Null: while it is open, for its timeout_seconds since created_at
ALTER TABLE provider_calls ADD COLUMN IF NOT EXISTS occupied_until timestamptz;
-- One row per repeated sending of a call.
CREATE TABLE IF NOT EXISTS resends (
    call_id text COLLATE "C" NOT NULL,
    claim_number integer NOT NULL,
    provider text NOT NULL,
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (call_id, claim_number)
);
"""

LOOKS = """
ALTER TABLE provider_calls
    ADD COLUMN IF NOT EXISTS settle_worker text,
    ADD COLUMN IF NOT EXISTS settle_looks integer,
    ADD COLUMN IF NOT EXISTS next_look_at timestamptz,
    -- the provider's response to the cancel
    ADD COLUMN IF NOT EXISTS cancel_answer text;
"""

PROBES = """
-- the claim that is the probe; null for a probe recorded by an older job-service
ALTER TABLE breakers
    ADD COLUMN IF NOT EXISTS probe_job_id text,
    ADD COLUMN IF NOT EXISTS probe_claim_number integer;
"""

REGISTRATIONS = """
-- what each generator offers; `providers` is the merged result
CREATE TABLE IF NOT EXISTS registrations (
    worker text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description jsonb NOT NULL,
    started_at timestamptz NOT NULL,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (worker, name)
);
"""

INDEXES = (
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS provider_calls_by_place ON provider_calls (provider, occupied_until)
    WHERE occupied_until IS NOT NULL""",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS resends_by_time ON resends (provider, sent_at)",
    """CREATE INDEX CONCURRENTLY IF NOT EXISTS queued_jobs_claimed_before ON jobs (run_at, id)
    WHERE state = 'queued' AND claim_number > 0""",
)


def upgrade() -> None:
    """Adds them concurrently with running services."""
    for script in (PLACES, LOOKS, PROBES, REGISTRATIONS):
        op.execute(script)
    with op.get_context().autocommit_block():
        for index in INDEXES:
            op.execute(index)
