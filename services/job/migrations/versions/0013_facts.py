"""An artifact is of a call of its own job; who was given a call last shows its token, a key makes the tokens."""

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Null where an older job-service, or a worker that knows no tokens, began the call.
REQUIRED = "ALTER TABLE provider_calls ADD COLUMN IF NOT EXISTS token_required boolean"

# As 0011 made the key of page tokens.
CALL_TOKENS = """
INSERT INTO secrets (name, value) VALUES ('call_tokens', sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
)) ON CONFLICT DO NOTHING
"""

# Left behind by a run that broke off while it was built.
IS_BROKEN = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('calls_by_job') AND NOT indisvalid"
CALLS_BY_JOB = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS calls_by_job ON provider_calls (job_id, id)"

# Calls are never deleted and never change their job, so nobody looks for the artifacts of one: no index on call_id.
REFERENCE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'an_artifact_is_of_a_call_of_its_job') THEN
        ALTER TABLE artifacts ADD CONSTRAINT an_artifact_is_of_a_call_of_its_job
            FOREIGN KEY (job_id, call_id) REFERENCES provider_calls (job_id, id) NOT VALID;
    END IF;
END $$
"""
# Nothing refused artifacts of unknown calls before. Where there are some, new ones are refused all the same.
VALIDATE = """
DO $$ BEGIN
    ALTER TABLE artifacts VALIDATE CONSTRAINT an_artifact_is_of_a_call_of_its_job;
EXCEPTION WHEN foreign_key_violation THEN
    RAISE WARNING 'Some artifacts have no call of their job; an_artifact_is_of_a_call_of_its_job stays NOT VALID.';
END $$
"""


def upgrade() -> None:
    """Add them beside running services."""
    op.execute(REQUIRED)
    op.execute(CALL_TOKENS)
    with op.get_context().autocommit_block():
        if op.get_bind().execute(text(IS_BROKEN)).first() is not None:
            op.execute("DROP INDEX CONCURRENTLY calls_by_job")
        op.execute(CALLS_BY_JOB)
        # Each by itself: what locks writers out is over before the rows are looked at.
        op.execute(REFERENCE)
        op.execute(VALIDATE)
