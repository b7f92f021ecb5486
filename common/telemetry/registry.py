"""The registry of telemetry: every attribute, span and metric; docs/telemetry.md is made of it."""

from typing import Final

from calotype.error_reasons import Code, Reason

from common.telemetry.kinds import Attribute, Metric

# Attributes

JOB_ID: Final = Attribute("calotype.job.id", "Id of the job.")
TENANT: Final = Attribute("calotype.tenant", "Tenant of the job.")

# Spans

# Metrics
#
# How replicas add up: each process exports what it did itself. Counters and histograms of all replicas are added up. A
# gauge of a process (connections, slots, bytes) is added up too. A gauge of something shared, whose meaning says
# "shared", is read by every replica: take the maximum.

ALL_SERVICES: Final = ("gateway", "job", "generator", "uploader", "notifier")
#: Upper bounds in seconds of what takes milliseconds, such as a transaction or a call between services.
FAST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds in seconds of HTTP responses: `Prefer: wait` holds one for up to a minute, OpenAI's paths for ten.
RESPONSE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)

# Labels of metrics

METHOD: Final = Attribute(
    "method",
    "HTTP method of the request; `other` for unknown ones.",
    values=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"),
)
ROUTE: Final = Attribute("route", "Template of the path, such as `/v1/jobs/{job_id}`; `unknown` where none matched.")
HTTP_STATUS: Final = Attribute("status", "Status code of the response.")
LIMITER_STATE: Final = Attribute("state", "Whether the call has a slot.", values=("under_way", "waiting"))

# Metrics of every process

EVENT_LOOP_DELAY_SECONDS: Final = Metric(
    name="calotype_event_loop_delay_seconds",
    meaning="Seconds by which the event loop ran a timer later than due, measured twice a second.",
    kind="histogram",
    unit="s",
    services=ALL_SERVICES,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
SCRAPE_SECONDS: Final = Metric(
    name="calotype_scrape_duration_seconds",
    meaning="Seconds in which the process made the text of a scrape; the event loop does nothing else meanwhile.",
    kind="histogram",
    unit="s",
    services=ALL_SERVICES,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)

LOOP: Final = Attribute("loop", "Name of the loop, as in its log events.")
LOOP_OUTCOME: Final = Attribute(
    "outcome",
    "`postponed`: something that it needs was away; `failed`: an unexpected error.",
    values=("done", "postponed", "failed"),
)
LOOP_RUNS: Final = Metric(
    name="calotype_loop_runs_total",
    meaning="Runs of periodic loops.",
    kind="counter",
    unit="{run}",
    services=ALL_SERVICES,
    labels=(LOOP, LOOP_OUTCOME),
)
LOOP_ITEMS: Final = Metric(
    name="calotype_loop_items_total",
    meaning=(
        "What periodic loops did, by the counts that they return: transitions of the stale-job monitor, published and"
        " kept rows of the outbox relay, purged and swept objects, returned facts."
    ),
    kind="counter",
    unit="{item}",
    services=ALL_SERVICES,
    labels=(LOOP, Attribute("item", "What was counted; each loop has its own few.")),
)
RPC_METHOD: Final = Attribute("rpc_method", "Full name of the method, `package.Service/Method`.")
RPC_STATUS: Final = Attribute(
    "rpc_status",
    "Name of the gRPC status.",
    values=(
        *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
        *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
        *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
    ),
)
RPC_SERVER_SECONDS: Final = Metric(
    name="calotype_rpc_server_duration_seconds",
    meaning="Seconds from a gRPC call's arrival to its end; without streams, health and reflection.",
    kind="histogram",
    unit="s",
    services=("job", "generator", "uploader", "notifier"),
    labels=(RPC_METHOD, RPC_STATUS),
    buckets=FAST_SECONDS,
)
RPC_CLIENT_SECONDS: Final = Metric(
    name="calotype_rpc_client_duration_seconds",
    meaning="Seconds of gRPC calls of this process, each try counted; without streams.",
    kind="histogram",
    unit="s",
    services=("gateway", "generator", "uploader", "notifier"),
    labels=(RPC_METHOD, RPC_STATUS),
    buckets=FAST_SECONDS,
)
DATABASE_CONNECTIONS: Final = Metric(
    name="calotype_database_connections",
    meaning="Database connections of the process: in use, waited for, and how many there may be.",
    kind="gauge",
    unit="{connection}",
    services=("job", "notifier"),
    labels=(Attribute("state", "What is counted.", values=("in_use", "waiting", "limit")),),
)
DATABASE_WAIT_SECONDS: Final = Metric(
    name="calotype_database_wait_seconds",
    meaning="Seconds for which a transaction waited for a connection.",
    kind="histogram",
    unit="s",
    services=("job", "notifier"),
    buckets=FAST_SECONDS,
)
DATABASE_TRANSACTION_SECONDS: Final = Metric(
    name="calotype_database_transaction_duration_seconds",
    meaning="Seconds of a transaction, with its repetitions, from its connection to its end.",
    kind="histogram",
    unit="s",
    services=("job", "notifier"),
    labels=(Attribute("outcome", "How it ended.", values=("committed", "rolled_back")),),
    buckets=FAST_SECONDS,
)

# Metrics of the gateway

HTTP_REQUEST_SECONDS: Final = Metric(
    name="calotype_http_request_duration_seconds",
    meaning="Seconds from the arrival of a request to the start of its response.",
    kind="histogram",
    unit="s",
    services=("gateway",),
    labels=(METHOD, ROUTE, HTTP_STATUS),
    buckets=RESPONSE_SECONDS,
)
EVENT_STREAMS: Final = Metric(
    name="calotype_event_streams",
    meaning="Open event streams.",
    kind="gauge",
    unit="{stream}",
    services=("gateway",),
)
REQUEST_BODY_BYTES: Final = Metric(
    name="calotype_request_body_bytes",
    meaning="Bytes of request bodies in memory.",
    kind="gauge",
    unit="By",
    services=("gateway",),
)
PICTURE_BYTES: Final = Metric(
    name="calotype_picture_bytes",
    meaning="Bytes of images in memory for base64 responses.",
    kind="gauge",
    unit="By",
    services=("gateway",),
)
JOB_SERVICE_CALLS: Final = Metric(
    name="calotype_job_service_calls",
    meaning="Calls to job-service, except streams: under way, or waiting for a slot.",
    kind="gauge",
    unit="{call}",
    services=("gateway",),
    labels=(LIMITER_STATE,),
)

# Labels of job-service

JOB_STATES: Final = ("queued", "processing", "generating", "uploading", "completed", "failed", "canceled")
TRANSITION: Final = Attribute(
    "transition",
    "Type of the event.",
    values=(
        *("job.submitted", "job.claimed", "job.generating", "job.uploading", "job.upload_claimed", "job.completed"),
        *("job.requeued", "job.upload_requeued", "job.failed", "job.canceled", "job.retried", "job.settled"),
    ),
)
SOURCE_STATE: Final = Attribute(
    "source", "State before the transition; `none` for a new job.", values=("none", *JOB_STATES)
)
TARGET_STATE: Final = Attribute("target", "State after the transition.", values=JOB_STATES)
JOB_STAGE: Final = Attribute(
    "stage",
    "`queued` is one wait for a generator, `generating` one claim of a generator, `uploading` the whole upload.",
    values=("queued", "generating", "uploading"),
)
FAILURE_STAGE: Final = Attribute(
    "stage", "Where it was caught.", values=("queued", "processing", "generating", "uploading", "persisting")
)
FINAL_STATE: Final = Attribute("outcome", "State in which the job ended.", values=("completed", "failed", "canceled"))
ERROR_CODE: Final = Attribute("code", "Class of the failure.", values=tuple(Code))
ERROR_REASON: Final = Attribute("reason", "Reason of the failure or refusal.", values=tuple(Reason))
ATTEMPT_OUTCOME: Final = Attribute(
    "outcome",
    "How the attempt ended.",
    values=("succeeded", "failed", "requeued", "released", "rescued", "canceled"),
)
PROVIDER: Final = Attribute("provider", "Name in the provider file.")
MODEL: Final = Attribute("model", "Model in the provider file.")
CALL_OUTCOME: Final = Attribute(
    "outcome",
    "How the call ended.",
    values=("succeeded", "refused", "failed", "canceled", "not_sent", "unknown"),
)
BREAKER_STATE: Final = Attribute("state", "State that it changed to.", values=("open", "closed"))
VERDICT: Final = Attribute(
    "verdict", "What the consumer decided.", values=("applied", "retried", "parked", "dead_lettered")
)
FACT_RESULT: Final = Attribute(
    "result",
    "`moved` changed its job; `late` changed nothing that clients see; `unknown` has no job.",
    values=("moved", "late", "unknown"),
)

# Metrics of job-service

JOB_TRANSITIONS: Final = Metric(
    name="calotype_job_transitions_total",
    meaning=(
        "Committed transitions of jobs, counted by the replica that wrote them. The jobs in a state are those that"
        " entered it less those that left it."
    ),
    kind="counter",
    unit="{transition}",
    services=("job",),
    labels=(TRANSITION, SOURCE_STATE, TARGET_STATE),
)
JOB_STAGE_SECONDS: Final = Metric(
    name="calotype_job_stage_duration_seconds",
    meaning="Seconds that a job spent in a stage, by the database's clock, and the state to which it went on.",
    kind="histogram",
    unit="s",
    services=("job",),
    labels=(JOB_STAGE, TARGET_STATE),
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
JOB_SECONDS: Final = Metric(
    name="calotype_job_duration_seconds",
    meaning="Seconds from a job's submission to its end; a job that a user retried is counted again at its next end.",
    kind="histogram",
    unit="s",
    services=("job",),
    labels=(FINAL_STATE,),
    buckets=(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
JOB_FAILURES: Final = Metric(
    name="calotype_job_failures_total",
    meaning="Jobs that ended with a failure.",
    kind="counter",
    unit="{job}",
    services=("job",),
    labels=(FAILURE_STAGE, ERROR_CODE, ERROR_REASON),
)
ATTEMPTS: Final = Metric(
    name="calotype_attempts_total",
    meaning="Claims of jobs that ended, of generators and uploaders.",
    kind="counter",
    unit="{attempt}",
    services=("job",),
    labels=(ATTEMPT_OUTCOME,),
)
ATTEMPT_FAILURES: Final = Metric(
    name="calotype_attempt_failures_total",
    meaning="Claims of jobs that ended with a failure, also where the job was tried again.",
    kind="counter",
    unit="{attempt}",
    services=("job",),
    labels=(FAILURE_STAGE, ERROR_CODE, ERROR_REASON),
)
LEASES_LOST: Final = Metric(
    name="calotype_leases_lost_total",
    meaning="Claims that the stale-job monitor ended because their lease had expired.",
    kind="counter",
    unit="{lease}",
    services=("job",),
)
REFUSALS: Final = Metric(
    name="calotype_refusals_total",
    meaning="Requests of clients and workers that job-service refused, such as for a quota, a budget or a limit.",
    kind="counter",
    unit="{request}",
    services=("job",),
    labels=(ERROR_REASON,),
)
CALLS_BEGUN: Final = Metric(
    name="calotype_provider_calls_begun_total",
    meaning="Provider calls that were recorded, before they are sent.",
    kind="counter",
    unit="{call}",
    services=("job",),
    labels=(PROVIDER, MODEL),
)
CALLS_SETTLED: Final = Metric(
    name="calotype_provider_calls_settled_total",
    meaning="Ends of provider calls in the ledger; one that is found again after `unknown` is counted twice.",
    kind="counter",
    unit="{call}",
    services=("job",),
    labels=(PROVIDER, MODEL, CALL_OUTCOME),
)
SPEND_MICROS: Final = Metric(
    name="calotype_spend_micros_total",
    meaning="Cost of ended provider calls, as providers or price lists say, in millionths of a US dollar.",
    kind="counter",
    unit="{micro-USD}",
    services=("job",),
    labels=(PROVIDER, MODEL),
)
BREAKER_CHANGES: Final = Metric(
    name="calotype_breaker_changes_total",
    meaning="Circuit breakers that opened or closed.",
    kind="counter",
    unit="{change}",
    services=("job",),
    labels=(PROVIDER, MODEL, BREAKER_STATE),
)
BREAKER_OPEN: Final = Metric(
    name="calotype_breaker_open",
    meaning="Shared: 1 while the circuit breaker is open, 0 after it closed; none for a route that never failed.",
    kind="gauge",
    unit="1",
    services=("job",),
    labels=(PROVIDER, MODEL),
)
PROVIDER_FREE_SLOTS: Final = Metric(
    name="calotype_provider_free_slots",
    meaning="Shared: calls that the provider's limits allowed at this replica's last claim; none without a limit.",
    kind="gauge",
    unit="{call}",
    services=("job",),
    labels=(PROVIDER,),
)
OLDEST_DUE_SECONDS: Final = Metric(
    name="calotype_oldest_due_seconds",
    meaning=(
        "Shared: age of the oldest due work. `job` waits for a generator (of up to 256 lists of a tenant and a route),"
        " `upload` for an uploader, `deletion` for an emptied folder; `outbox` is an event to publish."
    ),
    kind="gauge",
    unit="s",
    services=("job",),
    labels=(Attribute("work", "Kind of work.", values=("job", "upload", "deletion", "outbox")),),
)
FACTS_PENDING: Final = Metric(
    name="calotype_facts_pending",
    meaning="Shared: facts of workers in the stream from the oldest one that is not applied.",
    kind="gauge",
    unit="{fact}",
    services=("job",),
)
FACTS: Final = Metric(
    name="calotype_facts_total",
    meaning="Deliveries of facts to this replica.",
    kind="counter",
    unit="{fact}",
    services=("job",),
    labels=(VERDICT,),
)
FACTS_APPLIED: Final = Metric(
    name="calotype_facts_applied_total",
    meaning="Facts that this replica applied to jobs.",
    kind="counter",
    unit="{fact}",
    services=("job",),
    labels=(FACT_RESULT,),
)
DEAD_LETTERS: Final = Metric(
    name="calotype_dead_letters_total",
    meaning="Messages that were moved to the dead letters.",
    kind="counter",
    unit="{message}",
    services=("job",),
)
JOB_WATCHERS: Final = Metric(
    name="calotype_job_watchers",
    meaning="Open streams of job changes.",
    kind="gauge",
    unit="{stream}",
    services=("job",),
)

# Metrics of the workers

WORK: Final = Attribute("work", "Kind of work.", values=("jobs", "settlements", "uploads"))
WORK_SLOTS: Final = Metric(
    name="calotype_work_slots",
    meaning="Work that the process does at a time: busy slots, and how many there are.",
    kind="gauge",
    unit="{slot}",
    services=("generator", "uploader"),
    labels=(WORK, Attribute("state", "What is counted.", values=("busy", "limit"))),
)
WORK_LEASES_ENDED: Final = Metric(
    name="calotype_work_leases_ended_total",
    meaning="Leases that ended while their work was under way, as renewals said.",
    kind="counter",
    unit="{lease}",
    services=("generator", "uploader"),
    labels=(WORK, Attribute("outcome", "Why.", values=("lost", "canceled"))),
)
STORAGE_SECONDS: Final = Metric(
    name="calotype_storage_operation_duration_seconds",
    meaning="Seconds of an operation of the object store, with its wait for a thread.",
    kind="histogram",
    unit="s",
    services=("generator", "uploader"),
    labels=(
        Attribute("operation", "Kind of operation."),
        Attribute("outcome", "How it ended; `refused` is an answer of the store.", values=("done", "refused", "away")),
    ),
    buckets=FAST_SECONDS,
)

# Metrics of the generator

PROVIDER_CALL_SECONDS: Final = Metric(
    name="calotype_provider_call_duration_seconds",
    meaning=(
        "Seconds from sending a provider call, or from following an earlier one, to its result. `interrupted`: the"
        " claim ended first, and a later one follows the call."
    ),
    kind="histogram",
    unit="s",
    services=("generator",),
    labels=(
        PROVIDER,
        MODEL,
        Attribute("outcome", "How it ended.", values=("succeeded", "failed", "interrupted")),
    ),
    buckets=(
        0.1,
        0.25,
        0.5,
        1.0,
        2.5,
        5.0,
        10.0,
        20.0,
        30.0,
        45.0,
        60.0,
        90.0,
        120.0,
        180.0,
        240.0,
        300.0,
        450.0,
        600.0,
    ),
)
PROVIDER_CALL_ERRORS: Final = Metric(
    name="calotype_provider_call_errors_total",
    meaning="Provider calls that failed, by their error.",
    kind="counter",
    unit="{call}",
    services=("generator",),
    labels=(PROVIDER, MODEL, ERROR_CODE, ERROR_REASON),
)
PROVIDER_COST_MICROS: Final = Metric(
    name="calotype_provider_cost_micros_total",
    meaning="Cost that providers or price lists name for successful calls, in millionths of a US dollar.",
    kind="counter",
    unit="{micro-USD}",
    services=("generator",),
    labels=(PROVIDER, MODEL),
)
IMAGE_MEMORY_BYTES: Final = Metric(
    name="calotype_image_memory_bytes",
    meaning="Bytes of responses and images that the generator holds in memory.",
    kind="gauge",
    unit="By",
    services=("generator",),
)

# Metrics of the uploader

UPLOAD_SECONDS: Final = Metric(
    name="calotype_upload_duration_seconds",
    meaning="Seconds of one claim of an upload; `interrupted`: its lease ended, or the process stopped.",
    kind="histogram",
    unit="s",
    services=("uploader",),
    labels=(Attribute("outcome", "How it ended.", values=("stored", "failed", "interrupted")),),
    buckets=FAST_SECONDS,
)
UPLOADED_IMAGES: Final = Metric(
    name="calotype_uploaded_images_total",
    meaning="Images that were copied to the public bucket, or found there.",
    kind="counter",
    unit="{image}",
    services=("uploader",),
)

# Metrics of the notifier

WEBHOOK_ATTEMPTS: Final = Metric(
    name="calotype_webhook_attempts_total",
    meaning="Attempts of deliveries, by the state in which they left the delivery; `lost`: the lease had ended.",
    kind="counter",
    unit="{attempt}",
    services=("notifier",),
    labels=(
        Attribute(
            "outcome",
            "`pending` is tried again, `held` waits until its endpoint is enabled.",
            values=("delivered", "pending", "held", "failed", "superseded", "lost"),
        ),
    ),
)
WEBHOOK_ATTEMPT_SECONDS: Final = Metric(
    name="calotype_webhook_attempt_duration_seconds",
    meaning="Seconds of a request to a receiver.",
    kind="histogram",
    unit="s",
    services=("notifier",),
    labels=(
        Attribute(
            "error",
            "Class of its failure; `none` for a success.",
            values=(
                *("none", "dns", "blocked_address", "connect", "tls", "timeout_headers", "timeout_body", "protocol"),
                *("redirect_refused", "status", "proxy", "abandoned"),
            ),
        ),
    ),
    buckets=FAST_SECONDS,
)
WEBHOOK_HEALTH_CHANGES: Final = Metric(
    name="calotype_webhook_health_changes_total",
    meaning="Endpoints that became worse or better.",
    kind="counter",
    unit="{change}",
    services=("notifier",),
    labels=(
        Attribute(
            "change",
            "As the notice to the tenant's other endpoints names it.",
            values=("webhook.degraded", "webhook.recovered", "webhook.disabled"),
        ),
    ),
)
SLOT_SHARE: Final = Attribute(
    "share", "Part of the slots: for endpoints that work, new and slow ones.", values=("normal", "new", "slow")
)
WEBHOOK_OLDEST_DUE_SECONDS: Final = Metric(
    name="calotype_webhook_oldest_due_seconds",
    meaning="Shared: for how long the endpoint that waits longest has had a delivery that may be attempted.",
    kind="gauge",
    unit="s",
    services=("notifier",),
    labels=(SLOT_SHARE,),
)
WEBHOOK_FREE_SLOTS: Final = Metric(
    name="calotype_webhook_free_slots",
    meaning="Attempts that the process could begin now.",
    kind="gauge",
    unit="{slot}",
    services=("notifier",),
    labels=(SLOT_SHARE,),
)
