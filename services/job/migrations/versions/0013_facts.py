"""An artifact belongs to a call of its own job; facts carry call tokens, which are made with a shared key."""

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Null for a call that was begun by an older job-service, or by a worker without tokens.
REQUIRED = "ALTER TABLE provider_calls ADD COLUMN IF NOT EXISTS token_required boolean"

# As 0011 creates the key of page tokens.
CALL_TOKENS = """
INSERT INTO secrets (name, value) VALUES ('call_tokens', sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
)) ON CONFLICT DO NOTHING
"""

# Remains of an interrupted run that was building it.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('calls_by_job') AND NOT indisvalid"
CALLS_BY_JOB = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS calls_by_job ON provider_calls (job_id, id)"

# Calls are never deleted and never change their job, so no query reads the artifacts of one: no index on call_id.
REFERENCE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'an_artifact_is_of_a_call_of_its_job') THEN
        ALTER TABLE artifacts ADD CONSTRAINT an_artifact_is_of_a_call_of_its_job
            FOREIGN KEY (job_id, call_id) REFERENCES provider_calls (job_id, id) NOT VALID;
    END IF;
END $$
"""
# Artifacts of unknown calls were possible before. Existing ones stay; new ones are refused.
VALIDATE = """
DO $$ BEGIN
    ALTER TABLE artifacts VALIDATE CONSTRAINT an_artifact_is_of_a_call_of_its_job;
EXCEPTION WHEN foreign_key_violation THEN
    RAISE WARNING 'Some artifacts have no call of their job; an_artifact_is_of_a_call_of_its_job stays NOT VALID.';
END $$
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(REQUIRED)
    op.execute(CALL_TOKENS)
    with op.get_context().autocommit_block():
        if op.get_bind().execute(text(IS_BROKEN)).first() is not None:
            op.execute("DROP INDEX CONCURRENTLY calls_by_job")
        op.execute(CALLS_BY_JOB)
        # One statement at a time: the lock against writers ends before the rows are checked.
        op.execute(REFERENCE)
        op.execute(VALIDATE)
