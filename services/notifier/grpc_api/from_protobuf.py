"""Protobuf messages of WebhookService as values of the application."""

from datetime import UTC, datetime
from typing import Any

from calotype.notifier.v1 import webhook_service_pb2 as pb

from services.notifier.application.redelivery import DeliveryFilters
from services.notifier.application.webhook_requests import EndpointChange, NewWebhook
from services.notifier.domain.deliveries import DeliveryState
from services.notifier.domain.endpoints import SignatureScheme
from services.notifier.domain.refusals import Violation, invalid

SCHEMES = {
    pb.SIGNATURE_SCHEME_UNSPECIFIED: SignatureScheme.V1,
    pb.SIGNATURE_SCHEME_V1: SignatureScheme.V1,
    pb.SIGNATURE_SCHEME_V1A: SignatureScheme.V1A,
}
STATES = {
    pb.DELIVERY_STATE_UNSPECIFIED: None,
    pb.DELIVERY_STATE_PENDING: DeliveryState.PENDING,
    pb.DELIVERY_STATE_SENDING: DeliveryState.SENDING,
    pb.DELIVERY_STATE_DELIVERED: DeliveryState.DELIVERED,
    pb.DELIVERY_STATE_SUPERSEDED: DeliveryState.SUPERSEDED,
    pb.DELIVERY_STATE_FAILED: DeliveryState.FAILED,
    pb.DELIVERY_STATE_HELD: DeliveryState.HELD,
}


def new_webhook(request: pb.CreateWebhookRequest) -> NewWebhook:
    """Returns the endpoint to create. Raises `Refusal` INVALID_INPUT for an unknown scheme."""
    if request.signature_scheme not in SCHEMES:
        raise _unknown("signature_scheme", request.signature_scheme)
    return NewWebhook(
        tenant=request.tenant,
        idempotency_key=request.idempotency_key,
        url=request.url,
        description=request.description,
        event_types=tuple(request.event_types),
        scheme=SCHEMES[request.signature_scheme],
    )


def change(request: pb.UpdateWebhookRequest) -> EndpointChange:
    """Returns the fields that are set; the others are None."""
    return EndpointChange(
        url=optional(request, "url"),
        description=optional(request, "description"),
        event_types=tuple(request.event_types.entries) if request.HasField("event_types") else None,
        enabled=optional(request, "enabled"),
    )


def filters(request: pb.ListDeliveriesRequest) -> DeliveryFilters:
    """Returns the filters of a list. Raises `Refusal` INVALID_INPUT: ignored, an unknown state would filter nothing."""
    if request.state not in STATES:
        raise _unknown("state", request.state)
    return DeliveryFilters(
        tenant=request.tenant,
        webhook_id=request.webhook_id,
        state=STATES[request.state],
        event_type=request.event_type,
        job_id=request.job_id,
    )


def moment(message: Any, field: str) -> datetime | None:
    """Returns a timestamp in UTC, None when absent. Raises `Refusal` INVALID_INPUT outside the years 1 to 9999."""
    if not message.HasField(field):
        return None
    try:
        time: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(Violation(field=field, message="Must be a time of the years 1 to 9999.")) from error
    return time


def optional(message: Any, field: str) -> Any:
    """Returns the value of an optional field, None when absent."""
    return getattr(message, field) if message.HasField(field) else None


def _unknown(field: str, number: int) -> Exception:
    return invalid(Violation(field=field, message=f"There is no {number}."))
