"""Webhook endpoints, their secrets, and the deliveries to them."""

from typing import Literal

from gateway.schemas.wire import Moment, View

SignatureScheme = Literal["v1", "v1a"]
WebhookState = Literal["healthy", "failing", "degraded", "disabled"]
DisabledReason = Literal["by_tenant", "gone", "failing"]
DeliveryState = Literal["pending", "sending", "delivered", "superseded", "failed", "held"]
AttemptError = Literal[
    "dns",
    "blocked_address",
    "connect",
    "tls",
    "timeout_headers",
    "timeout_body",
    "protocol",
    "redirect_refused",
    "status",
    "proxy",
    "abandoned",
    "unknown",
]
WebhookEventType = Literal[
    "job.completed",
    "job.failed",
    "job.canceled",
    "job.settled",
    "webhook.degraded",
    "webhook.recovered",
    "webhook.disabled",
]


class WebhookHealthView(View):
    """How deliveries to an endpoint fare."""

    state: WebhookState
    """State of the receiver."""
    failing_since: Moment | None
    """First failure since the last success; null while healthy."""
    will_disable_at: Moment | None
    """When the endpoint will be disabled if it keeps failing; null while healthy or disabled."""
    last_error: AttemptError | None
    """Class of the last failure; null if there was none since the last success."""
    last_status: int | None
    """HTTP status of the last failure; null without a response."""
    disabled_reason: DisabledReason | None
    """Why the endpoint is disabled; null while it is enabled."""
    disabled_at: Moment | None
    """When the endpoint was disabled; null while it is enabled."""
    next_attempt_at: Moment | None
    """When the next attempt is made while degraded; null otherwise."""


class SecretView(View):
    """A secret that signs deliveries, without its value."""

    created_at: Moment
    """When the secret was created."""
    expires_at: Moment | None
    """When it stops to sign; null for the current secret."""


class WebhookView(View):
    """A webhook endpoint: a URL that events are posted to."""

    id: str
    """Id of the endpoint, `wh_...`."""
    url: str
    """URL that events are posted to."""
    description: str | None
    """The tenant's own note; null if none."""
    event_types: list[str]
    """Event types that are delivered; empty for all."""
    signature_scheme: SignatureScheme
    """How deliveries are signed."""
    public_keys: list[str]
    """Ed25519 public keys (`whpk_...`) that verify current deliveries; empty for `v1`."""
    enabled: bool
    """False if nothing is delivered; `health.disabled_reason` says why."""
    health: WebhookHealthView
    """How deliveries fare."""
    secrets: list[SecretView]
    """The secrets that sign deliveries now, newest first, without their values."""
    created_at: Moment
    """When the endpoint was created."""
    updated_at: Moment
    """When its settings were changed last."""


class CreatedWebhookView(WebhookView):
    """A new endpoint and its secret, which later responses do not show."""

    secret: str | None
    """The secret (`whsec_...`) that verifies deliveries; null for `v1a`, whose public key suffices."""


class WebhookPage(View):
    """A page of webhook endpoints."""

    webhooks: list[WebhookView]
    """Endpoints of this page, oldest first."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page."""


class UnhealthyWebhookView(View):
    """An endpoint, or the origin of callback URLs, that gets few or no deliveries."""

    tenant: str
    """Tenant that owns it."""
    id: str | None
    """Id of the endpoint, `wh_...`; null for the origin of callback URLs of jobs."""
    url: str
    """URL that events are posted to; scheme, host and port for the origin of callback URLs."""
    health: WebhookHealthView
    """How deliveries fare."""


class UnhealthyWebhookList(View):
    """Endpoints of all tenants that get few or no deliveries."""

    webhooks: list[UnhealthyWebhookView]
    """Those with an open circuit breaker first, then disabled ones; at most 100."""
    has_more: bool
    """True if there are more than these."""


class RotatedSecretView(View):
    """A new secret, which later responses do not show."""

    secret: str | None
    """The new secret (`whsec_...`); null for `v1a`."""
    public_key: str | None
    """The new Ed25519 public key (`whpk_...`); null for `v1`."""
    old_expires_at: Moment | None
    """When the old secret stops to sign; null if there was none."""


class SigningSecretView(View):
    """The secret that signs deliveries to the callback URLs of the tenant's jobs."""

    secret: str
    """The current secret (`whsec_...`)."""
    secrets: list[SecretView]
    """The secrets that sign deliveries now, newest first, without their values."""


class DeliveryAttemptView(View):
    """One request to a receiver."""

    number: int
    """Number of the attempt, from 1."""
    started_at: Moment | None
    """When the attempt began."""
    duration_ms: int
    """Milliseconds until its end."""
    status: int | None
    """HTTP status of the response; null without a response."""
    error: AttemptError | None
    """Class of the failure; null for a success."""
    message: str | None
    """One sentence about the failure, for people; null for a success."""
    response: str | None
    """First characters of the response's body, at most 1,024; null if empty, and for private receivers."""
    is_probe: bool
    """True if the attempt checked a degraded endpoint, and does not count in `attempt_count`."""


class DeliveryView(View):
    """One event for one endpoint or callback URL."""

    id: str
    """Id of the delivery, `msg_...`: the header `webhook-id` of every attempt."""
    webhook_id: str | None
    """Endpoint; null for the callback URL of a job."""
    url: str
    """URL that the event is posted to."""
    event_type: str
    """Type of the event, such as `job.completed`."""
    job_id: str | None
    """Job that the event is about; null for events of endpoints."""
    sequence: int | None
    """`sequence` of the job after the event; null without a job."""
    state: DeliveryState
    """State of the delivery."""
    attempt_count: int
    """Attempts that count against the limit."""
    occurred_at: Moment
    """When the event occurred."""
    created_at: Moment
    """When the delivery was created."""
    next_attempt_at: Moment | None
    """When the next attempt is due; null unless pending."""
    delivered_at: Moment | None
    """When the event was delivered; null before."""
    last_attempt: DeliveryAttemptView | None
    """The last attempt; null before the first."""


class DeliveryWithAttemptsView(DeliveryView):
    """A delivery with its attempts."""

    attempts: list[DeliveryAttemptView]
    """The last attempts, oldest first, at most 50."""


class DeliveryPage(View):
    """A page of deliveries."""

    deliveries: list[DeliveryView]
    """Deliveries of this page, newest first."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page."""


class WebhookTestView(View):
    """The outcome of a test."""

    delivery_id: str
    """The header `webhook-id` of the request."""
    attempt: DeliveryAttemptView
    """The attempt; its `error` is null if the receiver accepted the event."""


class RedeliveryView(View):
    """How many deliveries of a time range are sent again."""

    count: int
    """Deliveries that were made due."""
