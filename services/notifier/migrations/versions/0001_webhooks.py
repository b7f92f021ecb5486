"""Endpoints, secrets, deliveries, and the position in the feed of final events."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ENDPOINTS = """
CREATE TABLE IF NOT EXISTS webhook_endpoints (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    -- `endpoint`: a tenant created it; `callback`: origin of callback URLs, hidden
    kind text NOT NULL,
    -- of a `callback` row: scheme, host and port
    url text NOT NULL,
    description text NOT NULL DEFAULT '',
    -- empty: all types
    event_types text[] NOT NULL DEFAULT '{}',
    scheme text NOT NULL DEFAULT 'v1',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- hidden; its rows are deleted in batches
    deleted_at timestamptz,
    -- health: see services/notifier/domain/health.py
    failing_since timestamptz,
    points integer NOT NULL DEFAULT 0,
    window_started_at timestamptz,
    window_attempts integer NOT NULL DEFAULT 0,
    window_points integer NOT NULL DEFAULT 0,
    openings integer NOT NULL DEFAULT 0,
    blocked_until timestamptz,
    is_slow boolean NOT NULL DEFAULT true,
    -- part of a process's slots: see services/notifier/domain/endpoints.py
    share text GENERATED ALWAYS AS (
        CASE WHEN NOT is_slow THEN 'normal' WHEN window_started_at IS NULL THEN 'new' ELSE 'slow' END) STORED,
    last_error text,
    last_status integer,
    disabled_reason text,
    disabled_at timestamptz,
    -- rate: attempts since `minute_started_at`, and the end of a minute whose attempts are used up
    minute_started_at timestamptz,
    minute_attempts integer NOT NULL DEFAULT 0,
    rate_until timestamptz,
    -- last claim; endpoints with a backlog take turns by it
    served_at timestamptz,
    -- when a claim may take a delivery; null: none is pending, or the endpoint is at its cap, disabled or deleted
    ready_at timestamptz,
    -- disabled, and pending deliveries may be left that become held
    is_holding boolean NOT NULL DEFAULT false,
    CONSTRAINT an_endpoint_has_a_known_kind CHECK (kind IN ('endpoint', 'callback')),
    CONSTRAINT an_endpoint_has_a_known_scheme CHECK (scheme IN ('v1', 'v1a')),
    CONSTRAINT an_endpoint_is_disabled_for_a_reason CHECK (
        (disabled_reason IS NULL) = (disabled_at IS NULL)
        AND (disabled_reason IS NULL OR disabled_reason IN ('by_tenant', 'gone', 'failing'))),
    CONSTRAINT an_endpoint_that_sends_nothing_is_never_ready CHECK (
        ready_at IS NULL OR (disabled_reason IS NULL AND deleted_at IS NULL)),
    CONSTRAINT only_a_disabled_endpoint_holds_deliveries CHECK (NOT is_holding OR disabled_reason IS NOT NULL),
    CONSTRAINT counts_of_health_are_not_below_zero CHECK (
        points >= 0 AND window_attempts >= 0 AND window_points >= 0 AND openings >= 0 AND minute_attempts >= 0)
) WITH (fillfactor = 70);
-- One row per origin of a tenant's callback URLs. A deleted one must not stand in the way of a new one.
CREATE UNIQUE INDEX IF NOT EXISTS callback_origins ON webhook_endpoints (tenant, url)
    WHERE kind = 'callback' AND deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS callback_origins_by_age ON webhook_endpoints (created_at, id)
    WHERE kind = 'callback' AND deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS webhook_endpoints_of_tenant ON webhook_endpoints (tenant, id)
    WHERE kind = 'endpoint' AND deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS webhook_endpoints_ready ON webhook_endpoints (share, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_endpoints_deleted ON webhook_endpoints (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_endpoints_holding ON webhook_endpoints (id) WHERE is_holding;
"""

SECRETS = """
CREATE TABLE IF NOT EXISTS webhook_secrets (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    -- null: signs deliveries to callback URLs of the tenant's jobs
    endpoint_id uuid REFERENCES webhook_endpoints ON DELETE CASCADE,
    key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- null: the current secret
    expires_at timestamptz,
    CONSTRAINT a_secret_has_32_bytes CHECK (octet_length(key) = 32)
);
CREATE UNIQUE INDEX IF NOT EXISTS current_webhook_secret
    ON webhook_secrets (tenant, endpoint_id) NULLS NOT DISTINCT WHERE expires_at IS NULL;
CREATE INDEX IF NOT EXISTS webhook_secrets_of_endpoint ON webhook_secrets (endpoint_id);
CREATE INDEX IF NOT EXISTS webhook_secrets_of_tenant ON webhook_secrets (tenant);
CREATE INDEX IF NOT EXISTS expiring_webhook_secrets ON webhook_secrets (expires_at) WHERE expires_at IS NOT NULL;
"""

DELIVERIES = """
CREATE TABLE IF NOT EXISTS webhook_deliveries (
    -- UUIDv7, so that lists in the order of ids are in the order of creation
    id uuid PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    tenant text COLLATE "C" NOT NULL,
    -- the callback URL; null: the endpoint's URL at the time of each attempt
    url text,
    event_type text NOT NULL,
    job_id text COLLATE "C",
    sequence bigint,
    occurred_at timestamptz NOT NULL,
    -- `data` of an event of an endpoint; null for an event of a job, whose data job-service has
    data jsonb,
    state text NOT NULL,
    -- attempts that count against the limit, and all attempts
    attempt_count integer NOT NULL DEFAULT 0,
    attempts_made integer NOT NULL DEFAULT 0,
    due_at timestamptz,
    lease_token uuid,
    leased_until timestamptz,
    is_probe boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- of a callback URL, whose origin is never disabled: when it fails even if its attempts are not used up
    expires_at timestamptz,
    -- when it became delivered, superseded, failed or held
    ended_at timestamptz,
    CONSTRAINT a_delivery_has_a_known_state CHECK (
        state IN ('pending', 'waiting', 'sending', 'delivered', 'superseded', 'failed', 'held')),
    CONSTRAINT a_delivery_is_of_a_job_or_an_endpoint CHECK (
        (job_id IS NULL) = (sequence IS NULL) AND (job_id IS NULL) = (data IS NOT NULL)),
    CONSTRAINT a_pending_delivery_is_due_some_time CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CONSTRAINT a_delivery_is_leased_while_it_is_sent CHECK (
        (state = 'sending') = (lease_token IS NOT NULL) AND (state = 'sending') = (leased_until IS NOT NULL)),
    CONSTRAINT a_delivery_that_ended_says_when CHECK (
        (state IN ('delivered', 'superseded', 'failed', 'held')) = (ended_at IS NOT NULL)),
    CONSTRAINT attempts_are_not_below_zero CHECK (attempt_count >= 0 AND attempts_made >= attempt_count)
) WITH (fillfactor = 80);
-- One delivery per event and endpoint, however often the feed is read. A callback URL belongs to one job.
CREATE UNIQUE INDEX IF NOT EXISTS a_delivery_is_created_once ON webhook_deliveries (endpoint_id, job_id, sequence)
    WHERE job_id IS NOT NULL;
-- One event of a job at a time per endpoint.
CREATE UNIQUE INDEX IF NOT EXISTS one_delivery_of_a_job_at_a_time ON webhook_deliveries (endpoint_id, job_id)
    WHERE job_id IS NOT NULL AND state IN ('pending', 'sending');
CREATE INDEX IF NOT EXISTS webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at, id)
    WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_sending ON webhook_deliveries (endpoint_id) WHERE state = 'sending';
CREATE INDEX IF NOT EXISTS webhook_leases ON webhook_deliveries (leased_until) WHERE state = 'sending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_undelivered ON webhook_deliveries (endpoint_id, job_id, sequence)
    WHERE state IN ('pending', 'waiting', 'sending', 'held');
CREATE INDEX IF NOT EXISTS webhook_deliveries_expiring ON webhook_deliveries (expires_at)
    WHERE expires_at IS NOT NULL AND state IN ('pending', 'waiting');
CREATE INDEX IF NOT EXISTS webhook_deliveries_redeliverable ON webhook_deliveries (endpoint_id, created_at, id)
    WHERE state IN ('held', 'failed');
-- Lists, newest first: of an endpoint, and of the callback URLs of a tenant, each with every filter.
CREATE INDEX IF NOT EXISTS webhook_deliveries_listed ON webhook_deliveries (endpoint_id, id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_state ON webhook_deliveries (endpoint_id, state, id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_type ON webhook_deliveries (endpoint_id, event_type, id);
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_both ON webhook_deliveries (endpoint_id, state, event_type, id);
CREATE INDEX IF NOT EXISTS callbacks_listed ON webhook_deliveries (tenant, id) WHERE url IS NOT NULL;
CREATE INDEX IF NOT EXISTS callbacks_by_state ON webhook_deliveries (tenant, state, id) WHERE url IS NOT NULL;
CREATE INDEX IF NOT EXISTS callbacks_by_type ON webhook_deliveries (tenant, event_type, id) WHERE url IS NOT NULL;
CREATE INDEX IF NOT EXISTS callbacks_by_both ON webhook_deliveries (tenant, state, event_type, id)
    WHERE url IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
"""

ATTEMPTS = """
CREATE TABLE IF NOT EXISTS webhook_attempts (
    delivery_id uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    -- from 1, over all attempts of the delivery
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status integer,
    -- null: a success
    error text,
    message text NOT NULL DEFAULT '',
    -- first characters of the receiver's response
    response text NOT NULL DEFAULT '',
    is_probe boolean NOT NULL DEFAULT false,
    PRIMARY KEY (delivery_id, number),
    CONSTRAINT a_response_is_short CHECK (length(response) <= 1024)
);
"""

TASKS = """
-- Events of endpoints that are to be fanned out to the tenant's other endpoints.
CREATE TABLE IF NOT EXISTS webhook_notices (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    type text NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Ranges that are redelivered, a batch at a time; deleted when done.
CREATE TABLE IF NOT EXISTS webhook_redeliveries (
    id uuid PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    created_after timestamptz NOT NULL,
    created_before timestamptz NOT NULL,
    -- last delivery of the batch before, by creation time and id; null: none yet
    position_at timestamptz,
    position uuid
);
CREATE INDEX IF NOT EXISTS webhook_redeliveries_of_endpoint ON webhook_redeliveries (endpoint_id);
CREATE INDEX IF NOT EXISTS webhook_notices_of_endpoint ON webhook_notices (endpoint_id);
-- Responses to calls with an idempotency key.
CREATE TABLE IF NOT EXISTS webhook_requests (
    tenant text COLLATE "C" NOT NULL,
    method text NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- digest of the request, to refuse another one under the same key
    fingerprint bytea NOT NULL,
    -- the object that the call created: endpoint or secret
    created_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, method, key)
);
CREATE INDEX IF NOT EXISTS webhook_requests_by_age ON webhook_requests (created_at);
-- One row: the position in job-service's feed of final events.
CREATE TABLE IF NOT EXISTS event_cursor (
    is_only boolean PRIMARY KEY DEFAULT true,
    -- null: nothing was read yet, and the feed is read from `since`
    resume_token text,
    since timestamptz NOT NULL,
    CONSTRAINT there_is_one_cursor CHECK (is_only)
);
INSERT INTO event_cursor (since) VALUES (clock_timestamp() - interval '1 day') ON CONFLICT DO NOTHING;
-- Key that authenticates page tokens.
CREATE TABLE IF NOT EXISTS page_token_key (
    is_only boolean PRIMARY KEY DEFAULT true,
    key bytea NOT NULL,
    CONSTRAINT there_is_one_key CHECK (is_only)
);
INSERT INTO page_token_key (key) VALUES (sha256(gen_random_uuid()::text::bytea || gen_random_uuid()::text::bytea))
    ON CONFLICT DO NOTHING;
"""


def upgrade() -> None:
    """Creates all tables."""
    for statements in (ENDPOINTS, SECRETS, DELIVERIES, ATTEMPTS, TASKS):
        op.execute(statements)
