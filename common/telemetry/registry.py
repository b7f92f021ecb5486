"""The registry of telemetry: every attribute, span and metric; docs/telemetry.md is made of it."""

from typing import Final

from calotype.error_reasons import Code, Reason
from grpc import StatusCode
from opentelemetry.trace import SpanKind

from common.telemetry.kinds import Attribute, Metric, SpanType

# Attributes

JOB_ID: Final = Attribute("calotype.job.id", "Id of the job.")
TENANT: Final = Attribute("calotype.tenant", "Tenant of the job.")
CLAIM_NUMBER: Final = Attribute("calotype.job.claim_number", "Counts the claims of the job, from 1.", type="int")
TRANSITION: Final = Attribute("calotype.job.transition", "Change of the job, named as its event: `job.requeued`.")
CALL_ID: Final = Attribute("calotype.call.id", "Id of the provider call in the ledger.")
CALL_PHASE: Final = Attribute(
    "calotype.call.phase",
    "Phase of the provider call when the span ended.",
    values=("intended", "accepted", "succeeded", "refused", "failed", "canceled", "not_sent", "unknown"),
)
CALL_COST_MICROS: Final = Attribute(
    "calotype.call.cost_micros", "Cost of the call in millionths of a US dollar, if known.", type="int"
)
IMAGE_SIZE: Final = Attribute("calotype.image.size", "Size that the job asked for, such as `1024x1024`.")
IMAGE_QUALITY: Final = Attribute("calotype.image.quality", "Quality that the job asked for.")
IMAGE_INDEX: Final = Attribute("calotype.image.index", "Position of the image in its job, from 0.", type="int")
IMAGE_COUNT: Final = Attribute("calotype.image.count", "Images of the job.", type="int")
ERROR_STAGE: Final = Attribute("calotype.error.stage", "Stage of the job that failed, such as `GENERATING`.")
ERROR_REASON: Final = Attribute("calotype.error.reason", "Reason of the error, such as `RATE_LIMITED`.")
INTERRUPTED: Final = Attribute(
    "calotype.interrupted",
    "True when the work was given up: the caller left, the job was canceled, the lease lost or the process stopped.",
    type="boolean",
)
REQUEST_ID: Final = Attribute("calotype.request.id", "Id of the HTTP request, as in the header `X-Request-Id`.")
VERDICT: Final = Attribute(
    "calotype.message.verdict", "What became of the message.", values=("ack", "retry", "park", "reject")
)
DELIVERIES: Final = Attribute("calotype.message.deliveries", "Deliveries of the message so far.", type="int")
WEBHOOK_ID: Final = Attribute("calotype.webhook.message_id", "Id of the delivery, as in the header `webhook-id`.")
WEBHOOK_EVENT: Final = Attribute("calotype.webhook.event", "Type of the delivered event, such as `job.completed`.")

ERROR_TYPE: Final = Attribute(
    "error.type", "Reason of the error, status code, or name of the exception's class.", convention="error"
)
ENDUSER_ID: Final = Attribute("enduser.id", "Identity of the calling process.", convention="enduser")
SERVER_ADDRESS: Final = Attribute("server.address", "Host that is called.", convention="server")
SERVER_PORT: Final = Attribute("server.port", "Port that is called.", type="int", convention="server")
HTTP_METHOD: Final = Attribute(
    "http.request.method", "HTTP method; `_OTHER` for one that is not known.", convention="http"
)
HTTP_STATUS: Final = Attribute("http.response.status_code", "HTTP status.", type="int", convention="http")
HTTP_ROUTE: Final = Attribute("http.route", "Template of the path, such as `/v1/jobs/{job_id}`.", convention="http")
URL_PATH: Final = Attribute("url.path", "Path of the request, without its query.", convention="url")
URL_SCHEME: Final = Attribute("url.scheme", "`http` or `https`.", convention="url")
RPC_SYSTEM: Final = Attribute("rpc.system.name", "Always `grpc`.", values=("grpc",), convention="rpc")
RPC_METHOD: Final = Attribute(
    "rpc.method", "Full name of the method, such as `calotype.job.v1.JobService/CreateJob`.", convention="rpc"
)
RPC_STATUS: Final = Attribute(
    "rpc.response.status_code", "Name of the gRPC status code, such as `OK`.", convention="rpc"
)
MESSAGING_SYSTEM: Final = Attribute("messaging.system", "Always `nats`.", values=("nats",), convention="messaging")
MESSAGING_OPERATION: Final = Attribute(
    "messaging.operation.name", "Operation.", values=("send", "process"), convention="messaging"
)
MESSAGING_OPERATION_TYPE: Final = Attribute(
    "messaging.operation.type", "Type of the operation.", values=("send", "process"), convention="messaging"
)
MESSAGING_DESTINATION: Final = Attribute(
    "messaging.destination.name", "Subject of the message.", convention="messaging"
)
MESSAGING_TEMPLATE: Final = Attribute(
    "messaging.destination.template",
    "Subject with placeholders, such as `calotype.event.<tenant>.<job>`.",
    convention="messaging",
)
MESSAGING_ID: Final = Attribute("messaging.message.id", "Id of the message.", convention="messaging")
MESSAGING_SIZE: Final = Attribute(
    "messaging.message.body.size", "Size of the payload in bytes.", type="int", convention="messaging"
)
MESSAGING_GROUP: Final = Attribute(
    "messaging.consumer.group.name", "Name of the durable consumer.", convention="messaging"
)
GEN_AI_OPERATION: Final = Attribute(
    "gen_ai.operation.name", "Always `image_generation`.", values=("image_generation",), convention="gen_ai"
)
GEN_AI_PROVIDER: Final = Attribute(
    "gen_ai.provider.name", "Name of the provider in the provider file.", convention="gen_ai"
)
GEN_AI_MODEL: Final = Attribute("gen_ai.request.model", "Model that is called.", convention="gen_ai")
GEN_AI_RESPONSE_ID: Final = Attribute("gen_ai.response.id", "The provider's id of the operation.", convention="gen_ai")
GEN_AI_OUTPUT: Final = Attribute("gen_ai.output.type", "Always `image`.", values=("image",), convention="gen_ai")
GEN_AI_COUNT: Final = Attribute(
    "gen_ai.request.choice.count", "Images that the call is to make; left out for one.", type="int", convention="gen_ai"
)
GEN_AI_SEED: Final = Attribute("gen_ai.request.seed", "Seed of the first image.", type="int", convention="gen_ai")
GEN_AI_INPUT_TOKENS: Final = Attribute(
    "gen_ai.usage.input_tokens",
    "Tokens of the prompt and the input images, if the provider counts them.",
    type="int",
    convention="gen_ai",
)
GEN_AI_OUTPUT_TOKENS: Final = Attribute(
    "gen_ai.usage.output_tokens",
    "Tokens of the generated images and text, if the provider counts them.",
    type="int",
    convention="gen_ai",
)
GEN_AI_INPUT: Final = Attribute(
    "gen_ai.input.messages",
    "The prompt, as JSON; only with `CALOTYPE_TRACE_PROMPTS`.",
    convention="gen_ai",
)

# Spans

HTTP_SERVER: Final = SpanType(
    name="{http.request.method} {http.route}",
    meaning="A request to the HTTP API, until its response has been sent.",
    kind=SpanKind.SERVER,
    services=("gateway",),
    attributes=(
        *(HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS, URL_PATH, URL_SCHEME, ERROR_TYPE, INTERRUPTED),
        REQUEST_ID,
    ),
)
HTTP_CLIENT: Final = SpanType(
    name="{http.request.method}",
    meaning="One request to the receiver of a webhook, from name resolution until the last byte.",
    kind=SpanKind.CLIENT,
    services=("notifier",),
    attributes=(
        *(HTTP_METHOD, HTTP_STATUS, URL_SCHEME, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE, INTERRUPTED),
        *(WEBHOOK_ID, WEBHOOK_EVENT),
    ),
)
RPC_SERVER: Final = SpanType(
    name="{rpc.method}",
    meaning="A gRPC call that this process serves; of a stream, until its end.",
    kind=SpanKind.SERVER,
    services=("job", "generator", "uploader", "notifier"),
    attributes=(RPC_SYSTEM, RPC_METHOD, RPC_STATUS, ERROR_TYPE, ERROR_REASON, ENDUSER_ID),
)
RPC_CLIENT: Final = SpanType(
    name="{rpc.method}",
    meaning="A gRPC call that this process makes, one span per attempt; of a stream, until its end.",
    kind=SpanKind.CLIENT,
    services=("gateway", "generator", "uploader", "notifier"),
    attributes=(RPC_SYSTEM, RPC_METHOD, RPC_STATUS, ERROR_TYPE, SERVER_ADDRESS, SERVER_PORT),
)
SEND_EVENT: Final = SpanType(
    name="send {messaging.destination.template}",
    meaning="The outbox relay publishes an event of a job, until the broker has confirmed it.",
    kind=SpanKind.PRODUCER,
    services=("job",),
    attributes=(
        *(MESSAGING_SYSTEM, MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE, MESSAGING_TEMPLATE, MESSAGING_ID),
        *(MESSAGING_SIZE, JOB_ID, ERROR_TYPE, INTERRUPTED),
    ),
)
SEND_FACT: Final = SpanType(
    name="send {messaging.destination.name}",
    meaning="A worker publishes a fact about a job, until the broker has confirmed it; one span per attempt.",
    kind=SpanKind.PRODUCER,
    services=("generator", "uploader"),
    attributes=(
        *(MESSAGING_SYSTEM, MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE, MESSAGING_DESTINATION, MESSAGING_ID),
        *(MESSAGING_SIZE, JOB_ID, ERROR_TYPE, INTERRUPTED),
    ),
)
PROCESS_MESSAGE: Final = SpanType(
    name="process {messaging.destination.template}",
    meaning="job-service applies a fact, together with others of its batch.",
    kind=SpanKind.CONSUMER,
    services=("job",),
    attributes=(
        *(MESSAGING_SYSTEM, MESSAGING_OPERATION, MESSAGING_OPERATION_TYPE, MESSAGING_DESTINATION, MESSAGING_TEMPLATE),
        *(MESSAGING_ID, MESSAGING_SIZE, MESSAGING_GROUP, DELIVERIES, VERDICT, ERROR_TYPE, INTERRUPTED),
    ),
)
USER_ACTION: Final = SpanType(
    name="{calotype.job.transition}",
    meaning="A user retries or cancels the job; it links to the request, which has a trace of its own. "
    "Without a link: a bulk action of an operator does.",
    services=("job",),
    attributes=(JOB_ID, TRANSITION),
)
RESCUE: Final = SpanType(
    name="rescue job",
    meaning="The stale-job monitor moved the job, as its worker or its time had gone; an error if that ended the job.",
    services=("job",),
    attributes=(JOB_ID, TRANSITION, CLAIM_NUMBER, ERROR_TYPE, ERROR_STAGE),
)
GENERATE: Final = SpanType(
    name="generate images",
    meaning="One claim of the job by a generator.",
    services=("generator",),
    attributes=(JOB_ID, TENANT, CLAIM_NUMBER, IMAGE_COUNT, ERROR_TYPE, ERROR_STAGE, INTERRUPTED),
)
PROVIDER_CALL: Final = SpanType(
    name="image_generation {gen_ai.request.model}",
    meaning="A provider call, from sending it, or from following its operation again, until its end.",
    kind=SpanKind.CLIENT,
    services=("generator",),
    attributes=(
        *(GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_MODEL, GEN_AI_OUTPUT, GEN_AI_COUNT, GEN_AI_SEED),
        *(GEN_AI_RESPONSE_ID, GEN_AI_INPUT, JOB_ID, CALL_ID, CALL_PHASE, CALL_COST_MICROS, IMAGE_SIZE),
        *(IMAGE_QUALITY, ERROR_TYPE, INTERRUPTED, SERVER_ADDRESS, SERVER_PORT, GEN_AI_INPUT_TOKENS),
        GEN_AI_OUTPUT_TOKENS,
    ),
)
STAGE_IMAGE: Final = SpanType(
    name="stage image",
    meaning="An image is fetched if it is elsewhere, verified, and written to the staging bucket.",
    services=("generator",),
    attributes=(JOB_ID, CALL_ID, IMAGE_INDEX, ERROR_TYPE, INTERRUPTED),
)
SETTLE_CALL: Final = SpanType(
    name="settle call",
    meaning="One poll of an open provider call of a final job.",
    services=("generator",),
    attributes=(JOB_ID, CALL_ID, CALL_PHASE, ERROR_TYPE, INTERRUPTED),
)
UPLOAD: Final = SpanType(
    name="upload images",
    meaning="One claim of the job by an uploader.",
    services=("uploader",),
    attributes=(JOB_ID, CLAIM_NUMBER, IMAGE_COUNT, ERROR_TYPE, ERROR_STAGE, INTERRUPTED),
)
DELIVER: Final = SpanType(
    name="deliver webhook",
    meaning="One attempt to deliver an event to a receiver, and the record of its outcome.",
    services=("notifier",),
    attributes=(JOB_ID, WEBHOOK_ID, WEBHOOK_EVENT, ERROR_TYPE, INTERRUPTED),
)
TEST_WEBHOOK: Final = SpanType(
    name="test webhook",
    meaning="A test event is sent to a receiver.",
    services=("notifier",),
    attributes=(WEBHOOK_ID, WEBHOOK_EVENT, ERROR_TYPE, INTERRUPTED),
)

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
HTTP_STATUS_LABEL: Final = Attribute("status", "Status code of the response.")
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

TELEMETRY_REQUESTS: Final = Metric(
    name="calotype_telemetry_requests_total",
    meaning="Requests in which this process sent telemetry to the OTLP collector.",
    kind="counter",
    unit="{request}",
    services=ALL_SERVICES,
    labels=(
        Attribute("signal", "Kind of telemetry.", values=("traces", "metrics")),
        Attribute(
            "outcome", "`failed`: an error, or no response in time; nothing is sent again.", values=("sent", "failed")
        ),
    ),
)
TELEMETRY_SPANS: Final = Metric(
    name="calotype_telemetry_spans_total",
    meaning="Spans that were to be sent to the OTLP collector.",
    kind="counter",
    unit="{span}",
    services=ALL_SERVICES,
    labels=(
        Attribute(
            "outcome",
            (
                "Lost are all but `sent`: `failed` with their request, `queue_full` while too many waited, `stopped`"
                " with the process."
            ),
            values=("sent", "failed", "queue_full", "stopped"),
        ),
    ),
)
TELEMETRY_WAITING_SPANS: Final = Metric(
    name="calotype_telemetry_waiting_spans",
    meaning="Spans that wait to be sent.",
    kind="gauge",
    unit="{span}",
    services=ALL_SERVICES,
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
RPC_METHOD_LABEL: Final = Attribute("rpc_method", "Full name of the method, `package.Service/Method`.")
RPC_STATUS_LABEL: Final = Attribute(
    "rpc_status", "Name of the gRPC status.", values=tuple(code.name for code in StatusCode)
)
CERTIFICATE_EXPIRES_IN_SECONDS: Final = Metric(
    name="calotype_certificate_expires_in_seconds",
    meaning=(
        "Seconds until a certificate file of the process expires, negative afterwards; none for a file that is not set."
        " Of the process's own chain it is the first certificate to expire, of authorities the last one."
    ),
    kind="gauge",
    unit="s",
    services=ALL_SERVICES,
    labels=(
        Attribute(
            "file",
            "`grpc` is the process's own certificate, the others are authorities of other processes.",
            values=("grpc", "grpc_authorities", "nats_authorities"),
        ),
    ),
)
RPC_SERVER_SECONDS: Final = Metric(
    name="calotype_rpc_server_duration_seconds",
    meaning="Seconds from a gRPC call's arrival to its end; without streams, health and reflection.",
    kind="histogram",
    unit="s",
    services=("job", "generator", "uploader", "notifier"),
    labels=(RPC_METHOD_LABEL, RPC_STATUS_LABEL),
    buckets=FAST_SECONDS,
)
RPC_CLIENT_SECONDS: Final = Metric(
    name="calotype_rpc_client_duration_seconds",
    meaning="Seconds of gRPC calls of this process, each try counted; without streams, health and reflection.",
    kind="histogram",
    unit="s",
    services=("gateway", "generator", "uploader", "notifier"),
    labels=(RPC_METHOD_LABEL, RPC_STATUS_LABEL),
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
    labels=(METHOD, ROUTE, HTTP_STATUS_LABEL),
    buckets=RESPONSE_SECONDS,
)
ACCESS_ENDS_IN_SECONDS: Final = Metric(
    name="calotype_access_ends_in_seconds",
    meaning=(
        "Seconds until the first tenant of the keys file has no valid key any more, negative afterwards; none while"
        " every tenant has a key without an end."
    ),
    kind="gauge",
    unit="s",
    services=("gateway",),
    labels=(Attribute("role", "Role of the tenant.", values=("tenant", "operator")),),
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
TRANSITION_LABEL: Final = Attribute(
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
ERROR_REASON_LABEL: Final = Attribute("reason", "Reason of the failure or refusal.", values=tuple(Reason))
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
VERDICT_LABEL: Final = Attribute(
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
    labels=(TRANSITION_LABEL, SOURCE_STATE, TARGET_STATE),
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
    labels=(FAILURE_STAGE, ERROR_CODE, ERROR_REASON_LABEL),
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
    labels=(FAILURE_STAGE, ERROR_CODE, ERROR_REASON_LABEL),
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
    labels=(ERROR_REASON_LABEL,),
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
OLDEST_IN_STAGE_SECONDS: Final = Metric(
    name="calotype_oldest_in_stage_seconds",
    meaning=(
        "Shared: for how long the job that is in a stage for longest has been there, by its claim or the start of its"
        " upload (of up to 1,024 jobs of a stage, the first submitted ones); 0 for an empty stage."
    ),
    kind="gauge",
    unit="s",
    services=("job",),
    labels=(Attribute("stage", "State of the job.", values=("processing", "generating", "uploading")),),
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
    labels=(VERDICT_LABEL,),
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
STORAGE_OPERATIONS: Final = Metric(
    name="calotype_storage_operations",
    meaning="Operations of the object store: running, each in a thread of its own; waiting; and how many may run.",
    kind="gauge",
    unit="{operation}",
    services=("generator", "uploader"),
    labels=(
        Attribute("bucket", "Name of the bucket."),
        Attribute("state", "What is counted.", values=("running", "waiting", "limit")),
    ),
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
    labels=(PROVIDER, MODEL, ERROR_CODE, ERROR_REASON_LABEL),
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
WEBHOOK_DELIVERIES: Final = Metric(
    name="calotype_webhook_deliveries",
    meaning="Shared: deliveries that are not delivered, counted up to 10,000 (`due` and `later` together).",
    kind="gauge",
    unit="{delivery}",
    services=("notifier",),
    labels=(
        Attribute(
            "state",
            "`due` may be attempted, `later` waits for its next attempt, `held` until its endpoint is enabled.",
            values=("due", "later", "sending", "held"),
        ),
    ),
)
WEBHOOK_UNHEALTHY_ENDPOINTS: Final = Metric(
    name="calotype_webhook_unhealthy_endpoints",
    meaning="Shared: endpoints, and origins of callback URLs, that get few or no deliveries, counted up to 10,000.",
    kind="gauge",
    unit="{endpoint}",
    services=("notifier",),
    labels=(
        Attribute(
            "reason",
            "`degraded` fails, and gets a probe now and then; the others are disabled.",
            values=("degraded", "by_tenant", "gone", "failing"),
        ),
    ),
)
WEBHOOK_FEED_AGE_SECONDS: Final = Metric(
    name="calotype_webhook_feed_age_seconds",
    meaning="Seconds since the process last read job-service's final events to their end; deliveries are made of them.",
    kind="gauge",
    unit="s",
    services=("notifier",),
)
