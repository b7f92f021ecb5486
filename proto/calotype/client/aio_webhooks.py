"""Webhooks, for the client for asyncio."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from calotype.client import call_policy, webhook_requests
from calotype.notifier.v1 import webhook_service_pb2 as notifier
from calotype.notifier.v1 import webhook_service_pb2_grpc

T = TypeVar("T")
_V1, _ANY_STATE = notifier.SIGNATURE_SCHEME_V1, notifier.DELIVERY_STATE_UNSPECIFIED


class AsyncWebhookMethods:
    """Webhooks of the client's tenant. Every method raises `CalotypeError`, and `ValueError` without an address."""

    _identity: call_policy.RequestIdentity
    #: The stub has this type for type checkers alone.
    _webhooks: "webhook_service_pb2_grpc.WebhookServiceAsyncStub | None"

    async def create_webhook(
        self,
        url: str,
        *,
        description: str = "",
        event_types: Iterable[str] = (),
        signature_scheme: notifier.SignatureScheme.ValueType = _V1,
        idempotency_key: str | None = None,
    ) -> notifier.CreateWebhookResponse:
        """Creates an endpoint for these event types (none: all) and returns it with its secret."""
        request = webhook_requests.create(
            self._identity.tenant,
            url,
            description=description,
            event_types=event_types,
            signature_scheme=signature_scheme,
            idempotency_key=idempotency_key,
        )
        return await self._call(self._notifier.CreateWebhook, request)

    async def webhook(self, webhook_id: str) -> notifier.Webhook:
        """Returns an endpoint with its health."""
        request = notifier.GetWebhookRequest(tenant=self._identity.tenant, webhook_id=webhook_id)
        return (await self._call(self._notifier.GetWebhook, request)).webhook

    async def webhooks(self) -> AsyncIterator[notifier.Webhook]:
        """Yields all endpoints, oldest first; pages are fetched as they are needed."""
        request = notifier.ListWebhooksRequest(tenant=self._identity.tenant)
        while True:
            page = await self._call(self._notifier.ListWebhooks, request)
            for webhook in page.webhooks:
                yield webhook
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def update_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        description: str | None = None,
        event_types: Iterable[str] | None = None,
        enabled: bool | None = None,
    ) -> notifier.Webhook:
        """Changes what is not None. Events that were held while an endpoint was disabled stay held."""
        request = webhook_requests.update(
            self._identity.tenant,
            webhook_id,
            url=url,
            description=description,
            event_types=event_types,
            enabled=enabled,
        )
        return (await self._call(self._notifier.UpdateWebhook, request)).webhook

    async def delete_webhook(self, webhook_id: str) -> None:
        """Deletes an endpoint with its secrets and deliveries; deleting it again succeeds."""
        request = notifier.DeleteWebhookRequest(tenant=self._identity.tenant, webhook_id=webhook_id)
        await self._call(self._notifier.DeleteWebhook, request)

    async def rotate_webhook_secret(
        self, webhook_id: str, *, grace_seconds: int | None = None, idempotency_key: str | None = None
    ) -> notifier.RotateSecretResponse:
        """Returns a new secret. The old one signs, too, for `grace_seconds` (None: a day)."""
        request = webhook_requests.rotate(
            self._identity.tenant, webhook_id, grace_seconds=grace_seconds, idempotency_key=idempotency_key
        )
        return await self._call(self._notifier.RotateSecret, request)

    async def signing_secret(self) -> notifier.GetSigningSecretResponse:
        """Returns the secret that signs deliveries to callback URLs."""
        request = notifier.GetSigningSecretRequest(tenant=self._identity.tenant)
        return await self._call(self._notifier.GetSigningSecret, request)

    async def rotate_signing_secret(
        self, *, grace_seconds: int | None = None, idempotency_key: str | None = None
    ) -> notifier.RotateSecretResponse:
        """Returns a new secret for callback URLs. The old one signs, too, for `grace_seconds` (None: a day)."""
        request = webhook_requests.rotate(
            self._identity.tenant, "", grace_seconds=grace_seconds, idempotency_key=idempotency_key
        )
        return await self._call(self._notifier.RotateSecret, request)

    async def test_webhook(self, webhook_id: str) -> notifier.TestWebhookResponse:
        """Sends a test event once and returns the attempt, successful or not."""
        request = notifier.TestWebhookRequest(tenant=self._identity.tenant, webhook_id=webhook_id)
        return await self._call(self._notifier.TestWebhook, request, once=True, seconds=webhook_requests.TEST_SECONDS)

    async def deliveries(
        self,
        webhook_id: str | None = None,
        *,
        state: notifier.DeliveryState.ValueType = _ANY_STATE,
        event_type: str = "",
    ) -> AsyncIterator[notifier.Delivery]:
        """Yields the deliveries to an endpoint, or to callback URLs for None, newest first."""
        request = webhook_requests.deliveries(self._identity.tenant, webhook_id, state=state, event_type=event_type)
        while True:
            page = await self._call(self._notifier.ListDeliveries, request)
            for delivery in page.deliveries:
                yield delivery
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delivery(self, delivery_id: str) -> notifier.GetDeliveryResponse:
        """Returns a delivery with its last attempts, at most 50."""
        request = notifier.GetDeliveryRequest(tenant=self._identity.tenant, delivery_id=delivery_id)
        return await self._call(self._notifier.GetDelivery, request)

    async def redeliver(self, delivery_id: str) -> notifier.Delivery:
        """Makes a delivery due now. Raises `WrongState` while it is pending or its endpoint is disabled."""
        request = notifier.RedeliverRequest(tenant=self._identity.tenant, delivery_id=delivery_id)
        return (await self._call(self._notifier.Redeliver, request, once=True)).delivery

    async def redeliver_range(self, webhook_id: str, *, after: datetime, before: datetime | None = None) -> int:
        """Makes the held and failed deliveries of a time range due (None: until now); returns their number."""
        request = webhook_requests.redeliver_range(self._identity.tenant, webhook_id, after=after, before=before)
        return (await self._call(self._notifier.RedeliverRange, request, once=True)).count

    @property
    def _notifier(self) -> "webhook_service_pb2_grpc.WebhookServiceAsyncStub":
        return call_policy.required_notifier(self._webhooks)

    async def _call(
        self, method: Callable[..., Awaitable[T]], request: Any, *, once: bool = False, seconds: float | None = None
    ) -> T:
        raise NotImplementedError
