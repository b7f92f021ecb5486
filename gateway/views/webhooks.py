"""Converts webhook endpoints and deliveries to JSON views."""

from typing import Any

from calotype.notifier.v1 import webhook_service_pb2 as notifier

from gateway.schemas.webhooks import (
    CreatedWebhookView,
    DeliveryAttemptView,
    DeliveryView,
    DeliveryWithAttemptsView,
    RotatedSecretView,
    SecretView,
    SigningSecretView,
    UnhealthyWebhookList,
    UnhealthyWebhookView,
    WebhookHealthView,
    WebhookTestView,
    WebhookView,
)
from gateway.views.protobuf import lower_enum_name, optional, optional_time, required_time


def webhook(message: notifier.Webhook) -> WebhookView:
    """Returns the view of an endpoint."""
    return WebhookView(**_webhook_fields(message))


def created(response: notifier.CreateWebhookResponse) -> CreatedWebhookView:
    """Returns the view of a new endpoint with its secret."""
    return CreatedWebhookView(**_webhook_fields(response.webhook), secret=response.secret or None)


def unhealthy(response: notifier.ListUnhealthyWebhooksResponse) -> UnhealthyWebhookList:
    """Returns the view of endpoints that get few or no deliveries."""
    return UnhealthyWebhookList(
        webhooks=[
            UnhealthyWebhookView(
                tenant=message.tenant, id=message.webhook_id or None, url=message.url, health=_health(message.health)
            )
            for message in response.webhooks
        ],
        has_more=response.has_more,
    )


def _webhook_fields(message: notifier.Webhook) -> dict[str, Any]:
    scheme = lower_enum_name(notifier.SignatureScheme, "SIGNATURE_SCHEME", message.signature_scheme)
    return {
        "id": message.id,
        "url": message.url,
        "description": message.description or None,
        "event_types": list(message.event_types),
        "signature_scheme": scheme or "v1",
        "public_keys": list(message.public_keys),
        "enabled": message.enabled,
        "health": _health(message.health),
        "secrets": [_secret(secret) for secret in message.secrets],
        "created_at": required_time(message, "created_at"),
        "updated_at": required_time(message, "updated_at"),
    }


def _health(message: notifier.WebhookHealth) -> WebhookHealthView:
    return WebhookHealthView(
        state=lower_enum_name(notifier.WebhookState, "WEBHOOK_STATE", message.state) or "healthy",
        failing_since=optional_time(message, "failing_since"),
        will_disable_at=optional_time(message, "will_disable_at"),
        last_error=_error(message.last_error),
        last_status=optional(message, "last_status"),
        disabled_reason=lower_enum_name(notifier.DisabledReason, "DISABLED_REASON", message.disabled_reason),
        disabled_at=optional_time(message, "disabled_at"),
        next_attempt_at=optional_time(message, "next_attempt_at"),
    )


def _secret(message: notifier.SecretInfo) -> SecretView:
    return SecretView(created_at=required_time(message, "created_at"), expires_at=optional_time(message, "expires_at"))


def rotated(response: notifier.RotateSecretResponse) -> RotatedSecretView:
    """Returns the view of a new secret."""
    return RotatedSecretView(
        secret=response.secret or None,
        public_key=response.public_key or None,
        old_expires_at=optional_time(response, "old_expires_at"),
    )


def signing_secret(response: notifier.GetSigningSecretResponse) -> SigningSecretView:
    """Returns the view of the secret of callback URLs."""
    return SigningSecretView(secret=response.secret, secrets=[_secret(secret) for secret in response.secrets])


def delivery(message: notifier.Delivery) -> DeliveryView:
    """Returns the view of a delivery."""
    return DeliveryView(**_delivery_fields(message))


def delivery_with_attempts(response: notifier.GetDeliveryResponse) -> DeliveryWithAttemptsView:
    """Returns the view of a delivery with its attempts."""
    return DeliveryWithAttemptsView(
        **_delivery_fields(response.delivery), attempts=[_attempt(attempt) for attempt in response.attempts]
    )


def _delivery_fields(message: notifier.Delivery) -> dict[str, Any]:
    return {
        "id": message.id,
        "webhook_id": message.webhook_id or None,
        "url": message.url,
        "event_type": message.event_type,
        "job_id": message.job_id or None,
        "sequence": message.sequence or None,
        "state": lower_enum_name(notifier.DeliveryState, "DELIVERY_STATE", message.state) or "pending",
        "attempt_count": message.attempt_count,
        "occurred_at": required_time(message, "occurred_at"),
        "created_at": required_time(message, "created_at"),
        "next_attempt_at": optional_time(message, "next_attempt_at"),
        "delivered_at": optional_time(message, "delivered_at"),
        "last_attempt": _attempt(message.last_attempt) if message.HasField("last_attempt") else None,
    }


def test_result(response: notifier.TestWebhookResponse) -> WebhookTestView:
    """Returns the view of a test's outcome."""
    return WebhookTestView(delivery_id=response.delivery_id, attempt=_attempt(response.attempt))


def _attempt(message: notifier.DeliveryAttempt) -> DeliveryAttemptView:
    return DeliveryAttemptView(
        number=message.number,
        started_at=optional_time(message, "started_at"),
        duration_ms=message.duration_ms,
        status=optional(message, "status"),
        error=_error(message.error),
        message=message.message or None,
        response=message.response or None,
        is_probe=message.is_probe,
    )


def _error(value: notifier.AttemptError.ValueType) -> Any:
    """Returns the class of a failure; None for a success.

    A class that only a newer notifier knows is `unknown`: it must not read as a success.
    """
    if value == notifier.ATTEMPT_ERROR_UNSPECIFIED:
        return None
    return lower_enum_name(notifier.AttemptError, "ATTEMPT_ERROR", value) or "unknown"
