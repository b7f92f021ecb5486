"""Time of a user's consent to paying again, and whether a call's result can be fetched."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Both may be null: older job-services write rows, too.
COLUMNS = """
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS consented_at timestamptz;
ALTER TABLE provider_calls ADD COLUMN IF NOT EXISTS resumable boolean;
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(COLUMNS)
