"""The registry of telemetry: every attribute, span and metric; docs/telemetry.md is made of it."""

from typing import Final

from opentelemetry.trace import SpanKind

from common.telemetry.kinds import Attribute, SpanType

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
    meaning="A user retries or cancels the job; it links to the request, which has a trace of its own.",
    services=("job",),
    attributes=(JOB_ID, TRANSITION),
)
RESCUE: Final = SpanType(
    name="rescue job",
    meaning="The stale-job monitor moved the job, as its worker or its time had gone.",
    services=("job",),
    attributes=(JOB_ID, TRANSITION, CLAIM_NUMBER),
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
        *(IMAGE_QUALITY, ERROR_TYPE, INTERRUPTED),
    ),
)
STAGE_IMAGE: Final = SpanType(
    name="stage image",
    meaning="An image is written to the staging bucket.",
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
