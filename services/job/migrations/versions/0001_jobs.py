"""Jobs, their events and attempts, the ledger of provider calls, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOBS = """
CREATE TABLE jobs (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    state text NOT NULL,
    sequence bigint NOT NULL,
    priority smallint NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    image_count smallint NOT NULL,
    request jsonb,
    metadata jsonb NOT NULL,
    end_user text,
    traceparent text,

    claim_number integer NOT NULL,
    attempt_count integer NOT NULL,
    retry_count integer NOT NULL,
    -- failures per code since the last user retry, e.g. {"generating/TEMPORARY": 2}
    failure_counts jsonb NOT NULL,
    -- the last user retry consented to paying again
    user_consents boolean NOT NULL,

    locked_by text,
    locked_at timestamptz,
    lease_token uuid,
    lease_expires_at timestamptz,

    run_at timestamptz NOT NULL,
    start_by timestamptz,
    finish_by timestamptz,
    queued_at timestamptz,
    queued_seconds double precision NOT NULL,
    generating_since timestamptz,
    uploading_since timestamptz,

    failure_stage text,
    failure_code text,
    failure_reason text,
    failure_message text,
    failure_retryable boolean,
    failure_retry_after_seconds double precision,
    provider_cancel text,
    warnings jsonb NOT NULL,

    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    deleted_at timestamptz,

    CONSTRAINT a_state_is_one_of_seven CHECK (state IN
        ('queued', 'processing', 'generating', 'uploading', 'completed', 'failed', 'canceled')),
    CONSTRAINT a_lease_is_whole_or_absent CHECK (
        (lease_token IS NULL) = (locked_by IS NULL)
        AND (lease_token IS NULL) = (locked_at IS NULL)
        AND (lease_token IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT a_generating_worker_holds_a_lease CHECK (
        state NOT IN ('processing', 'generating') OR lease_token IS NOT NULL),
    CONSTRAINT a_waiting_or_final_job_has_no_lease CHECK (
        state IN ('processing', 'generating', 'uploading') OR lease_token IS NULL),
    CONSTRAINT only_a_final_job_is_completed_at CHECK (
        (state IN ('completed', 'failed', 'canceled')) = (completed_at IS NOT NULL)),
    CONSTRAINT only_a_failed_job_has_a_failure CHECK (
        (state = 'failed') = (failure_stage IS NOT NULL)
        AND (failure_stage IS NULL) = (failure_code IS NULL)
        AND (failure_stage IS NULL) = (failure_reason IS NULL)
        AND (failure_stage IS NULL) = (failure_message IS NULL)
        AND (failure_stage IS NULL) = (failure_retryable IS NULL)),
    CONSTRAINT a_failure_names_its_stage CHECK (
        failure_stage IN ('queued', 'processing', 'generating', 'uploading', 'persisting')),
    CONSTRAINT a_failure_has_one_of_six_codes CHECK (failure_code IN
        ('TEMPORARY', 'RATE_LIMIT', 'TIMEOUT', 'AUTH_ERROR', 'PERMANENT', 'UNKNOWN')),
    CONSTRAINT only_a_canceled_job_cancels_at_the_provider CHECK ((state = 'canceled') = (provider_cancel IS NOT NULL)),
    CONSTRAINT a_queued_job_knows_since_when CHECK ((state = 'queued') = (queued_at IS NOT NULL)),
    CONSTRAINT a_generating_job_knows_since_when CHECK (
        (state IN ('processing', 'generating')) = (generating_since IS NOT NULL)),
    CONSTRAINT an_uploading_job_knows_since_when CHECK ((state = 'uploading') = (uploading_since IS NOT NULL)),
    CONSTRAINT a_job_asks_for_one_to_ten_images CHECK (image_count BETWEEN 1 AND 10),
    CONSTRAINT counters_do_not_fall_below_zero CHECK (claim_number >= 0 AND attempt_count >= 0 AND retry_count >= 0)
) WITH (fillfactor = 80);

CREATE INDEX queued_jobs_by_tenant ON jobs (tenant, priority, run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_at_a_generator ON jobs (tenant, id) WHERE state IN ('processing', 'generating');
CREATE INDEX jobs_to_upload ON jobs (run_at, id) WHERE state = 'uploading';
CREATE INDEX jobs_by_age ON jobs (tenant, created_at DESC, id DESC);
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
"""

HISTORY = """
CREATE TABLE job_events (
    job_id text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    sequence bigint NOT NULL,
    type text NOT NULL,
    state text NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- the job at this sequence, without its request
    snapshot jsonb NOT NULL,
    PRIMARY KEY (job_id, sequence)
);
CREATE INDEX final_events_by_time ON job_events (occurred_at, job_id)
    WHERE type IN ('job.completed', 'job.failed', 'job.canceled', 'job.settled');

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    wake text,
    traceparent text,
    claimed_until timestamptz,
    FOREIGN KEY (job_id, sequence) REFERENCES job_events ON DELETE CASCADE,
    CONSTRAINT a_wake_up_is_of_a_kind CHECK (wake IN ('generate', 'upload', 'settle', 'delete'))
) WITH (fillfactor = 80);
CREATE INDEX outbox_by_job ON outbox (job_id, sequence);

CREATE TABLE job_inputs (
    job_id text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    -- index among the input images; -1 is the mask
    index smallint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (job_id, index)
);

CREATE TABLE attempts (
    job_id text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    claim_number integer NOT NULL,
    lease_token uuid NOT NULL,
    stage text NOT NULL,
    worker text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text,
    failure jsonb,
    counted boolean NOT NULL,
    PRIMARY KEY (job_id, claim_number),
    CONSTRAINT a_lease_token_serves_one_claim UNIQUE (lease_token),
    CONSTRAINT an_attempt_generates_or_uploads CHECK (stage IN ('generating', 'uploading')),
    CONSTRAINT an_ended_attempt_has_an_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

CREATE TABLE idempotency_keys (
    tenant text COLLATE "C" NOT NULL,
    -- what the key was used for: `jobs`, or `jobs/<id>/retry`
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    -- no foreign key: a key outlives its job, so that a replay can say that the job is gone
    job_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, scope, key)
);

CREATE TABLE tenant_load (
    tenant text COLLATE "C" PRIMARY KEY,
    last_claimed_at timestamptz,
    max_in_flight integer
) WITH (fillfactor = 50);

CREATE TABLE providers (
    name text COLLATE "C" PRIMARY KEY,
    description jsonb NOT NULL,
    is_default boolean NOT NULL,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL
);
"""

LEDGER = """
CREATE TABLE provider_calls (
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    claim_number integer NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    phase text NOT NULL,
    image_indexes smallint[] NOT NULL,
    idempotency_key text NOT NULL,
    request_digest text NOT NULL,
    consent text NOT NULL,
    operation_id text,
    operation_state jsonb NOT NULL,
    cost_micros bigint,
    provider_error jsonb,
    timeout_seconds double precision NOT NULL,
    created_at timestamptz NOT NULL,
    accepted_at timestamptz,
    settled_at timestamptz,
    settle_token uuid,
    settle_expires_at timestamptz,
    CONSTRAINT a_call_is_in_one_of_eight_phases CHECK (phase IN
        ('intended', 'accepted', 'succeeded', 'refused', 'failed', 'canceled', 'not_sent', 'unknown')),
    CONSTRAINT an_accepted_call_has_an_operation CHECK (phase <> 'accepted' OR operation_id IS NOT NULL),
    CONSTRAINT an_open_call_is_not_settled CHECK ((phase IN ('intended', 'accepted')) = (settled_at IS NULL)),
    CONSTRAINT consent_is_of_none_job_or_user CHECK (consent IN ('none', 'job', 'user')),
    CONSTRAINT an_unknown_cost_is_null CHECK (cost_micros >= 0),
    CONSTRAINT a_call_buys_something CHECK (cardinality(image_indexes) > 0),
    CONSTRAINT a_phase_can_be_referenced UNIQUE (id, phase),
    CONSTRAINT an_idempotency_key_is_one_call UNIQUE (idempotency_key)
);
-- The ledger outlives its job: no foreign key.
CREATE INDEX provider_calls_of_a_job ON provider_calls (job_id, created_at, id);
CREATE INDEX open_provider_calls ON provider_calls (provider, id) WHERE phase IN ('intended', 'accepted');

CREATE TABLE provider_call_images (
    call_id text COLLATE "C" NOT NULL,
    job_id text COLLATE "C" NOT NULL,
    image_index smallint NOT NULL,
    -- updated with provider_calls.phase by the foreign key
    phase text NOT NULL,
    -- a consent allows buying this image again
    lifted boolean NOT NULL,
    PRIMARY KEY (call_id, image_index),
    FOREIGN KEY (call_id, phase) REFERENCES provider_calls (id, phase) ON UPDATE CASCADE ON DELETE CASCADE
);
-- Against paying twice: an image has at most one call that may have bought it, unless a consent lifted the limit.
CREATE UNIQUE INDEX an_image_is_bought_once ON provider_call_images (job_id, image_index)
    WHERE phase IN ('intended', 'accepted', 'succeeded', 'unknown') AND NOT lifted;

CREATE TABLE artifacts (
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL REFERENCES jobs ON DELETE CASCADE,
    image_index smallint NOT NULL,
    call_id text COLLATE "C" NOT NULL,
    staged_name text NOT NULL,
    content_type text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    blurhash text NOT NULL,
    seed bigint,
    revised_prompt text,
    c2pa boolean NOT NULL,
    public_name text,
    staged_at timestamptz NOT NULL,
    stored_at timestamptz,
    CONSTRAINT an_index_has_one_artifact UNIQUE (job_id, image_index),
    CONSTRAINT a_stored_artifact_has_a_name CHECK ((stored_at IS NULL) = (public_name IS NULL)),
    CONSTRAINT a_digest_is_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$')
);

CREATE TABLE deletions (
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL,
    due_at timestamptz NOT NULL,
    lease_token uuid,
    CONSTRAINT a_deletion_is_of_one_bucket CHECK (bucket IN ('staging', 'public')),
    CONSTRAINT a_folder_is_deleted_once UNIQUE (bucket, prefix)
);
CREATE INDEX due_deletions ON deletions (bucket, due_at);
"""


def upgrade() -> None:
    """Creates all tables."""
    for script in (JOBS, HISTORY, LEDGER):
        op.execute(script)
