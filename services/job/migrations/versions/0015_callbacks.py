"""Final events keep the URL that is to be notified, so that the end of a deleted job can still be reported."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Null for events that are not final, for jobs without a callback URL, and in older rows.
CALLBACK_URL = "ALTER TABLE job_events ADD COLUMN IF NOT EXISTS callback_url text"


def upgrade() -> None:
    """Adds it concurrently with running services."""
    op.execute(CALLBACK_URL)
