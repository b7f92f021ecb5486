"""Allowances and spending of tenants."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LIMITS = """
CREATE TABLE IF NOT EXISTS tenant_limits (
    tenant text COLLATE "C" PRIMARY KEY,
    -- `provider` or `provider/model`; null: every provider
    allowed_providers text[],
    budget_micros_per_day bigint,
    budget_micros_per_month bigint,
    CONSTRAINT a_budget_is_not_below_zero CHECK (budget_micros_per_day >= 0 AND budget_micros_per_month >= 0)
)
"""

SPEND = """
CREATE TABLE IF NOT EXISTS tenant_spend (
    tenant text COLLATE "C" NOT NULL,
    period text NOT NULL,
    starts_on date NOT NULL,
    spent_micros bigint NOT NULL,
    reserved_micros bigint NOT NULL,
    PRIMARY KEY (tenant, period, starts_on),
    CONSTRAINT a_period_is_a_day_or_a_month CHECK (period IN ('day', 'month')),
    CONSTRAINT what_is_spent_is_not_below_zero CHECK (spent_micros >= 0 AND reserved_micros >= 0)
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS tenant_spend_by_age ON tenant_spend (starts_on);
"""

# Null for a call that counts against no budget, as those of an older job-service. NOT VALID: older rows have nulls,
# and need no check.
CALLS = """
ALTER TABLE provider_calls
    -- tenant whose budget the call counts against, day (UTC) on which it counts, and reserved amount
    ADD COLUMN IF NOT EXISTS billed_to text,
    ADD COLUMN IF NOT EXISTS billed_on date,
    ADD COLUMN IF NOT EXISTS reserved_micros bigint;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'a_reservation_is_whole_or_absent') THEN
        ALTER TABLE provider_calls ADD CONSTRAINT a_reservation_is_whole_or_absent CHECK (
            (billed_to IS NULL) = (reserved_micros IS NULL) AND (billed_on IS NULL) = (reserved_micros IS NULL)
            AND (reserved_micros IS NULL OR reserved_micros >= 0)) NOT VALID;
    END IF;
END $$
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(LIMITS)
    op.execute(SPEND)
    op.execute(CALLS)
