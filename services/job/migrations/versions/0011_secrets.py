"""Keys that replicas share without configuration: the first one authenticates page tokens."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE IF NOT EXISTS secrets (
    name text PRIMARY KEY,
    value bytea NOT NULL,
    CONSTRAINT a_secret_has_256_bits CHECK (length(value) = 32)
)
"""

# gen_random_uuid() has 122 strong random bits: three of them have more than the digest can hold.
PAGE_TOKENS = """
INSERT INTO secrets (name, value) VALUES ('page_tokens', sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
)) ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(TABLE)
    op.execute(PAGE_TOKENS)
