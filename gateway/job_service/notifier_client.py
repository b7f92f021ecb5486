"""The gateway's client of the notifier: every call has a time limit, and every error becomes a `Problem`."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from calotype.notifier.v1 import webhook_service_pb2 as notifier
from calotype.notifier.v1 import webhook_service_pb2_grpc

from common import grpc_client
from common.errors import ServiceError
from gateway.job_service.concurrency_limit import ConcurrencyLimiter
from gateway.problems.problem import from_service_error

T = TypeVar("T")
_NAME = "notifier"
#: So that clients get an error within two seconds when the notifier, or its database, is unreachable.
CALL_SECONDS = 1.5
#: A test waits for the receiver, which has 20 seconds.
TEST_SECONDS = 25.0


class NotifierClient:
    """Calls `calotype.notifier.v1.WebhookService` for a tenant or an operator. All methods raise `Problem`."""

    def __init__(
        self, channel: grpc.aio.Channel, *, call_seconds: float = CALL_SECONDS, test_seconds: float = TEST_SECONDS
    ) -> None:
        self._call_seconds = call_seconds
        self._test_seconds = test_seconds
        self._stub = webhook_service_pb2_grpc.WebhookServiceStub(channel)
        # Separate from that of job-service: a slow notifier delays webhook calls alone.
        self._limiter = ConcurrencyLimiter(service=_NAME)

    async def create(self, request: notifier.CreateWebhookRequest) -> notifier.CreateWebhookResponse:
        """Creates an endpoint; its key makes repeated calls safe."""
        return await self._call(self._stub.CreateWebhook, request, attempts=3)

    async def get(self, tenant: str, webhook_id: str) -> notifier.Webhook:
        """Returns an endpoint."""
        request = notifier.GetWebhookRequest(tenant=tenant, webhook_id=webhook_id)
        return (await self._call(self._stub.GetWebhook, request, attempts=2)).webhook

    async def page(self, request: notifier.ListWebhooksRequest) -> notifier.ListWebhooksResponse:
        """Returns a page of endpoints."""
        return await self._call(self._stub.ListWebhooks, request, attempts=2)

    async def unhealthy(self) -> notifier.ListUnhealthyWebhooksResponse:
        """Returns endpoints of all tenants that get few or no deliveries, up to 100."""
        return await self._call(self._stub.ListUnhealthyWebhooks, notifier.ListUnhealthyWebhooksRequest(), attempts=2)

    async def update(self, request: notifier.UpdateWebhookRequest) -> notifier.Webhook:
        """Changes an endpoint; repeating the call changes nothing more."""
        return (await self._call(self._stub.UpdateWebhook, request, attempts=2)).webhook

    async def delete(self, tenant: str, webhook_id: str) -> None:
        """Deletes an endpoint; repeating the call succeeds."""
        request = notifier.DeleteWebhookRequest(tenant=tenant, webhook_id=webhook_id)
        await self._call(self._stub.DeleteWebhook, request, attempts=2)

    async def rotate(self, request: notifier.RotateSecretRequest) -> notifier.RotateSecretResponse:
        """Creates a new secret; its key makes repeated calls safe."""
        return await self._call(self._stub.RotateSecret, request, attempts=3)

    async def signing_secret(self, tenant: str) -> notifier.GetSigningSecretResponse:
        """Returns the secret of the tenant's callback URLs."""
        request = notifier.GetSigningSecretRequest(tenant=tenant)
        return await self._call(self._stub.GetSigningSecret, request, attempts=2)

    async def test(self, tenant: str, webhook_id: str) -> notifier.TestWebhookResponse:
        """Sends a test event and returns the attempt. Called only once, as a repeated call sends another.

        Takes no slot of the limiter, as slow receivers would delay all other calls; the notifier limits tests itself.
        """
        request = notifier.TestWebhookRequest(tenant=tenant, webhook_id=webhook_id)
        try:
            return await grpc_client.call(self._stub.TestWebhook, request, timeout=self._test_seconds)
        except ServiceError as error:
            raise from_service_error(error, service=_NAME) from error

    async def deliveries(self, request: notifier.ListDeliveriesRequest) -> notifier.ListDeliveriesResponse:
        """Returns a page of deliveries."""
        return await self._call(self._stub.ListDeliveries, request, attempts=2)

    async def delivery(self, tenant: str, delivery_id: str) -> notifier.GetDeliveryResponse:
        """Returns a delivery with its attempts."""
        request = notifier.GetDeliveryRequest(tenant=tenant, delivery_id=delivery_id)
        return await self._call(self._stub.GetDelivery, request, attempts=2)

    async def redeliver(self, tenant: str, delivery_id: str) -> notifier.Delivery:
        """Makes a delivery due now. Called only once, as a repeated call would report that it is pending."""
        request = notifier.RedeliverRequest(tenant=tenant, delivery_id=delivery_id)
        return (await self._call(self._stub.Redeliver, request, attempts=1)).delivery

    async def redeliver_range(self, request: notifier.RedeliverRangeRequest) -> int:
        """Makes the held and failed deliveries of a time range due; returns their number."""
        return (await self._call(self._stub.RedeliverRange, request, attempts=1)).count

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any, *, attempts: int) -> T:
        try:
            async with self._limiter.slot(self._call_seconds) as left:
                return await grpc_client.call(method, request, timeout=left, attempts=attempts)
        except ServiceError as error:
            raise from_service_error(error, service=_NAME) from error
