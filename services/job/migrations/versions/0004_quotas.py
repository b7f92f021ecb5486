"""Request rates of tenants."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Written with every request of a limited tenant, and relevant for a minute: a crash may lose it.
RATES = """
CREATE UNLOGGED TABLE IF NOT EXISTS tenant_rates (
    tenant text COLLATE "C" PRIMARY KEY,
    full_at timestamptz NOT NULL
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    """Adds it concurrently with running services."""
    op.execute(RATES)
