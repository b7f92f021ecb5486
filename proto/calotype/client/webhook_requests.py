"""Requests to the notifier, as both clients send them."""

from collections.abc import Iterable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from calotype.client import call_policy
from calotype.notifier.v1 import webhook_service_pb2 as notifier

#: Seconds that a test may take: the receiver has 20 of them.
TEST_SECONDS = 30.0


def create(
    tenant: str,
    url: str,
    *,
    description: str,
    event_types: Iterable[str],
    signature_scheme: notifier.SignatureScheme.ValueType,
    idempotency_key: str | None,
) -> notifier.CreateWebhookRequest:
    """Returns the request for a new endpoint, with a new key if none is given."""
    return notifier.CreateWebhookRequest(
        tenant=tenant,
        idempotency_key=idempotency_key or call_policy.new_key(),
        url=url,
        description=description,
        event_types=event_types,
        signature_scheme=signature_scheme,
    )


def update(
    tenant: str,
    webhook_id: str,
    *,
    url: str | None,
    description: str | None,
    event_types: Iterable[str] | None,
    enabled: bool | None,
) -> notifier.UpdateWebhookRequest:
    """Returns the request that changes what is not None."""
    return notifier.UpdateWebhookRequest(
        tenant=tenant,
        webhook_id=webhook_id,
        url=url,
        description=description,
        event_types=None if event_types is None else notifier.EventTypes(entries=event_types),
        enabled=enabled,
    )


def rotate(
    tenant: str, webhook_id: str, *, grace_seconds: int | None, idempotency_key: str | None
) -> notifier.RotateSecretRequest:
    """Returns the request for a new secret, with a new key if none is given."""
    return notifier.RotateSecretRequest(
        tenant=tenant,
        idempotency_key=idempotency_key or call_policy.new_key(),
        webhook_id=webhook_id,
        grace_seconds=grace_seconds,
    )


def deliveries(
    tenant: str, webhook_id: str | None, *, state: notifier.DeliveryState.ValueType, event_type: str
) -> notifier.ListDeliveriesRequest:
    """Returns the request for the first page of deliveries; None: of those to callback URLs."""
    return notifier.ListDeliveriesRequest(
        tenant=tenant, webhook_id=webhook_id or "", state=state, event_type=event_type
    )


def redeliver_range(
    tenant: str, webhook_id: str, *, after: datetime, before: datetime | None
) -> notifier.RedeliverRangeRequest:
    """Returns the request that sends a time range again. Raises `ValueError` for a time without a time zone."""
    return notifier.RedeliverRangeRequest(
        tenant=tenant,
        webhook_id=webhook_id,
        after=_timestamp("after", after),
        before=None if before is None else _timestamp("before", before),
    )


def _timestamp(name: str, moment: datetime) -> Timestamp:
    if moment.tzinfo is None:
        raise ValueError(f"{name}: a time needs a time zone, such as datetime.now(UTC).")
    written = Timestamp()
    written.FromDatetime(moment)
    return written
