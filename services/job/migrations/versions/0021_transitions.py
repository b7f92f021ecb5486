"""A function by which a statement of transitions fails unless all of them applied, so that COMMIT may go with it."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION require_transitions(applied bigint, decided bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF applied <> decided THEN
        RAISE EXCEPTION '% of % transitions did not apply', decided - applied, decided USING ERRCODE = 'U0001';
    END IF;
END
$$
"""


def upgrade() -> None:
    """Adds the function."""
    op.execute(FUNCTION)
