"""Lanes are in the order of their tenants' loads: a claim reads the first ones, and counts for these only."""

from alembic import op
from sqlalchemy import text

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Loads are explained in services/job/store/lane_loads.py. An older job-service orders lanes by `last_claimed_at` alone,
# and counts by itself.
LOADS = """
-- the tenant's jobs at generators; 1000000 for a tenant at its limit
ALTER TABLE lanes ADD COLUMN IF NOT EXISTS load integer NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS load_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE OR REPLACE FUNCTION note_load_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO load_changes (tenant) VALUES (NEW.tenant);
    RETURN NULL;
END $$;
"""
# Claims themselves write the load of a tenant whose jobs they take.
TRIGGERS = """
CREATE OR REPLACE TRIGGER a_job_that_leaves_its_generator_is_noted AFTER UPDATE OF state ON jobs
    FOR EACH ROW WHEN (OLD.state IN ('processing', 'generating') AND NEW.state NOT IN ('processing', 'generating'))
    EXECUTE FUNCTION note_load_change();
CREATE OR REPLACE TRIGGER a_changed_limit_is_noted AFTER INSERT OR UPDATE OF max_in_flight ON tenant_load
    FOR EACH ROW EXECUTE FUNCTION note_load_change();
"""
# Remains of an interrupted run that was building it.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('lanes_by_load') AND NOT indisvalid"
INDEX = """CREATE INDEX CONCURRENTLY IF NOT EXISTS lanes_by_load
    ON lanes (provider, model, fallback, load, last_claimed_at NULLS FIRST, id) WHERE wakes_at IS NULL"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(LOADS)
    op.execute(TRIGGERS)
    with op.get_context().autocommit_block():
        if op.get_bind().execute(text(IS_BROKEN)).first() is not None:
            op.execute("DROP INDEX CONCURRENTLY lanes_by_load")
        op.execute(INDEX)
