"""Named enums of webhooks, with the meaning of every value."""

from collections.abc import Mapping
from typing import Any

from gateway.schemas.webhooks import (
    AttemptError,
    DeliveryState,
    DisabledReason,
    SignatureScheme,
    WebhookEventType,
    WebhookState,
)

#: Name of the component, the Literal whose values it has, what it is, and the meaning of each value.
ENUMS: tuple[tuple[str, Any, str, Mapping[str, str]], ...] = (
    (
        "WebhookEventType",
        WebhookEventType,
        "Type of an event that webhooks deliver.",
        {
            "job.completed": "the images are public",
            "job.failed": "the job failed",
            "job.canceled": "a user canceled the job",
            "job.settled": "the end of a canceled provider call, and so the cost, is known",
            "webhook.degraded": "deliveries to another endpoint of the tenant are paused after failures",
            "webhook.recovered": "a delivery to that endpoint succeeded again",
            "webhook.disabled": "that endpoint is disabled after days of failure, or by status 410",
        },
    ),
    (
        "SignatureScheme",
        SignatureScheme,
        "How deliveries are signed (Standard Webhooks).",
        {"v1": "HMAC-SHA256 with a shared secret", "v1a": "Ed25519; the receiver needs the public key alone"},
    ),
    (
        "WebhookState",
        WebhookState,
        "State of an endpoint's receiver.",
        {
            "healthy": "the last attempt succeeded, or there was none",
            "failing": "the last attempt failed; deliveries are retried",
            "degraded": "deliveries wait after many failures; single attempts check whether the receiver works again",
            "disabled": "nothing is sent; events are held",
        },
    ),
    (
        "DisabledReason",
        DisabledReason,
        "Why an endpoint is disabled.",
        {
            "by_tenant": "the tenant disabled it",
            "gone": "the receiver returned status 410",
            "failing": "every attempt failed for days",
        },
    ),
    (
        "DeliveryState",
        DeliveryState,
        "State of a delivery.",
        {
            "pending": "it is due, or will be at `next_attempt_at`",
            "sending": "an attempt is in progress",
            "delivered": "the receiver returned a 2xx status",
            "superseded": "a later final event of the job made it unnecessary",
            "failed": "all attempts failed",
            "held": "its endpoint was disabled; it can be sent again once the endpoint is enabled",
        },
    ),
    (
        "AttemptError",
        AttemptError,
        "Class of a failed attempt.",
        {
            "dns": "the name of the host could not be resolved",
            "blocked_address": "an address of the host is not public, or the port is not allowed",
            "connect": "no connection could be made",
            "tls": "the TLS handshake failed, such as for an expired certificate",
            "timeout_headers": "status and headers did not arrive in time",
            "timeout_body": "the body did not end in time",
            "protocol": "the connection broke, or the response is not HTTP",
            "redirect_refused": "the receiver returned a redirect, which is not followed",
            "status": "the receiver returned another status than 2xx",
            "proxy": "the service's own proxy failed; not counted against the endpoint",
            "abandoned": "the process that made the attempt ended before it recorded the outcome",
            "unknown": "a class that this version of the API does not know",
        },
    ),
)
