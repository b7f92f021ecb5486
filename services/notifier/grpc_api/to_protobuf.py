"""Values of the application as protobuf messages of WebhookService."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from calotype.notifier.v1 import webhook_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from common.ids import prefixed
from services.notifier.adapters.signatures import written_public_key, written_secret
from services.notifier.application.webhook_requests import Webhook
from services.notifier.domain.attempts import DeliveryAttempt
from services.notifier.domain.deliveries import Delivery
from services.notifier.domain.endpoints import Endpoint, Kind, Secret, SignatureScheme
from services.notifier.domain.health import EndpointHealth


def webhook(value: Webhook) -> pb.Webhook:
    """Returns an endpoint, without the values of its secrets."""
    endpoint, secrets = value.endpoint, value.secrets
    return pb.Webhook(
        id=prefixed("wh", endpoint.id),
        tenant=endpoint.tenant,
        url=endpoint.url,
        description=endpoint.description,
        event_types=endpoint.event_types,
        signature_scheme=_number(pb.SignatureScheme, "SIGNATURE_SCHEME", endpoint.scheme),
        public_keys=[public_key(secret, endpoint.scheme) for secret in secrets] if _is_v1a(endpoint.scheme) else [],
        enabled=endpoint.health.disabled_reason is None,
        health=health(endpoint.health),
        secrets=secret_infos(secrets),
        created_at=timestamp(endpoint.created_at),
        updated_at=timestamp(endpoint.updated_at),
    )


def unhealthy(endpoint: Endpoint) -> pb.UnhealthyWebhook:
    """Returns an endpoint, or an origin of callback URLs, as operators see it."""
    return pb.UnhealthyWebhook(
        tenant=endpoint.tenant,
        webhook_id=prefixed("wh", endpoint.id) if endpoint.kind is Kind.ENDPOINT else "",
        url=endpoint.url,
        health=health(endpoint.health),
    )


def health(value: EndpointHealth) -> pb.WebhookHealth:
    """Returns how deliveries to an endpoint fare."""
    is_degraded = value.is_open and value.disabled_reason is None
    return pb.WebhookHealth(
        state=_number(pb.WebhookState, "WEBHOOK_STATE", value.state),
        failing_since=timestamp(value.failing_since),
        will_disable_at=timestamp(value.will_disable_at),
        last_error=_number(pb.AttemptError, "ATTEMPT_ERROR", value.last_error),
        last_status=value.last_status,
        disabled_reason=_number(pb.DisabledReason, "DISABLED_REASON", value.disabled_reason),
        disabled_at=timestamp(value.disabled_at),
        next_attempt_at=timestamp(value.blocked_until) if is_degraded else None,
    )


def secret(value: Secret, scheme: SignatureScheme) -> str:
    """Returns the shared secret as text; "" for `v1a`, whose receivers need the public key alone."""
    return "" if _is_v1a(scheme) else written_secret(value.key)


def public_key(value: Secret, scheme: SignatureScheme) -> str:
    """Returns the public key as text; "" for `v1`."""
    return written_public_key(value.key) if _is_v1a(scheme) else ""


def secret_infos(values: Sequence[Secret]) -> list[pb.SecretInfo]:
    """Returns secrets without their values."""
    return [
        pb.SecretInfo(created_at=timestamp(value.created_at), expires_at=timestamp(value.expires_at))
        for value in values
    ]


def delivery(value: Delivery) -> pb.Delivery:
    """Returns a delivery."""
    return pb.Delivery(
        id=prefixed("msg", value.id),
        webhook_id="" if value.endpoint_id is None else prefixed("wh", value.endpoint_id),
        url=value.url,
        event_type=value.event_type,
        job_id=value.job_id or "",
        sequence=value.sequence or 0,
        state=_number(pb.DeliveryState, "DELIVERY_STATE", value.state),
        attempt_count=value.attempt_count,
        occurred_at=timestamp(value.occurred_at),
        created_at=timestamp(value.created_at),
        next_attempt_at=timestamp(value.next_attempt_at),
        delivered_at=timestamp(value.delivered_at),
        last_attempt=None if value.last_attempt is None else attempt(value.last_attempt),
    )


def attempt(value: DeliveryAttempt) -> pb.DeliveryAttempt:
    """Returns an attempt."""
    outcome = value.outcome
    return pb.DeliveryAttempt(
        number=value.number,
        started_at=timestamp(value.started_at),
        duration_ms=outcome.duration_ms,
        status=outcome.status,
        error=_number(pb.AttemptError, "ATTEMPT_ERROR", outcome.error),
        message=outcome.message,
        response=outcome.response,
        is_probe=value.is_probe,
    )


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Returns a timestamp; None for None."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _is_v1a(scheme: SignatureScheme) -> bool:
    return scheme is SignatureScheme.V1A


def _number(enum: Any, prefix: str, member: Enum | None) -> Any:
    """Returns the number of a member; that of `PREFIX_UNSPECIFIED` for None."""
    return enum.Value(f"{prefix}_{'UNSPECIFIED' if member is None else member.name}")
