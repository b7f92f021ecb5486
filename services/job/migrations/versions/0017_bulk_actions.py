"""Bulk actions of operators: cancel or retry every job of a filter."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BULK_ACTIONS = """
CREATE TABLE IF NOT EXISTS bulk_actions (
    id text COLLATE "C" PRIMARY KEY,
    -- kind, filter and consent
    request jsonb NOT NULL,
    requested_by text NOT NULL,
    state text NOT NULL,
    -- jobs that matched at the request, and whether that was all
    matched bigint NOT NULL,
    is_exact boolean NOT NULL,
    -- the last job that was looked at
    reached_created_at timestamptz,
    reached_id text,
    done bigint NOT NULL,
    skipped bigint NOT NULL,
    -- number and first job by reason
    refused jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    -- time of the next page; while a replica works on a page, the time at which another one may take over
    due_at timestamptz NOT NULL,
    CONSTRAINT a_bulk_action_is_running_finished_or_canceled CHECK (state IN ('running', 'finished', 'canceled')),
    CONSTRAINT a_running_bulk_action_has_no_end CHECK ((state = 'running') = (finished_at IS NULL)),
    CONSTRAINT a_position_is_whole_or_absent CHECK ((reached_created_at IS NULL) = (reached_id IS NULL))
);
CREATE INDEX IF NOT EXISTS running_bulk_actions ON bulk_actions (due_at) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS bulk_actions_by_age ON bulk_actions (created_at, id);
"""


def upgrade() -> None:
    """Adds them concurrently with running services."""
    op.execute(BULK_ACTIONS)
