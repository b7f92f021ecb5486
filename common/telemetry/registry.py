"""The registry of telemetry: every attribute, span and metric; docs/telemetry.md is made of it."""

from typing import Final

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
