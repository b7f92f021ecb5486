"""The notifier as its clients see it, in memory: real gRPC, real state, no rules beyond the contract, no receivers."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from math import inf
from typing import Any

import grpc
from calotype.notifier.v1 import webhook_service_pb2 as notifier
from calotype.notifier.v1 import webhook_service_pb2_grpc
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import ServiceError
from common.grpc_server import GrpcService, serve
from common.health import Readiness
from common.ids import new_uuid7, prefixed
from tests.support.job_service.fake_job_service import NOON, refusal


class FakeWebhookService(webhook_service_pb2_grpc.WebhookServiceServicer):
    """Keeps endpoints and deliveries; `refusals` are raised by the method of that name, each once, in order."""

    def __init__(self) -> None:
        self.webhooks: dict[str, notifier.Webhook] = {}
        #: By id: the tenant, and the delivery with its attempts.
        self.deliveries: dict[str, tuple[str, notifier.GetDeliveryResponse]] = {}
        self.asked: list[Any] = []
        #: Seconds that each caller still had when its call arrived.
        self.time_left: list[float] = []
        self.refusals: dict[str, list[ServiceError]] = defaultdict(list)
        self.next_page_token = ""
        #: The attempt that a test makes.
        self.attempt = notifier.DeliveryAttempt(number=1, started_at=_time(), duration_ms=35, status=204)
        self._responses: dict[tuple[str, str, str], tuple[Any, Any]] = {}

    # What tests do to it.

    def add(self, *, tenant: str = "default", **fields: Any) -> notifier.Webhook:
        """An endpoint that is there already."""
        webhook = notifier.Webhook(
            id=prefixed("wh", new_uuid7()),
            tenant=tenant,
            url="https://shop.example/hook",
            signature_scheme=notifier.SIGNATURE_SCHEME_V1,
            enabled=True,
            health=notifier.WebhookHealth(state=notifier.WEBHOOK_STATE_HEALTHY),
            secrets=[notifier.SecretInfo(created_at=_time())],
            created_at=_time(),
            updated_at=_time(),
        )
        webhook.MergeFrom(notifier.Webhook(**fields))
        self.webhooks[webhook.id] = webhook
        return webhook

    def deliver(self, *, tenant: str = "default", attempts: int = 0, **fields: Any) -> notifier.Delivery:
        """A delivery that is there already, pending unless the fields say otherwise."""
        delivery = notifier.Delivery(
            id=prefixed("msg", new_uuid7()),
            url="https://shop.example/hook",
            event_type="job.completed",
            job_id="job_1",
            sequence=5,
            state=notifier.DELIVERY_STATE_PENDING,
            attempt_count=attempts,
            occurred_at=_time(),
            created_at=_time(),
        )
        delivery.MergeFrom(notifier.Delivery(**fields))
        made = [
            notifier.DeliveryAttempt(
                number=number,
                started_at=_time(),
                duration_ms=20,
                status=500,
                error=notifier.ATTEMPT_ERROR_STATUS,
                message="The receiver returned status 500.",
                response="no",
            )
            for number in range(1, attempts + 1)
        ]
        if made:
            delivery.last_attempt.CopyFrom(made[-1])
        self.deliveries[delivery.id] = (tenant, notifier.GetDeliveryResponse(delivery=delivery, attempts=made))
        return delivery

    def last(self, kind: type[Any]) -> Any:
        """The last request of a kind."""
        return next(request for request in reversed(self.asked) if isinstance(request, kind))

    def grpc_service(self) -> GrpcService:
        """This service, as a server offers it."""
        return GrpcService(
            name="calotype.notifier.v1.WebhookService",
            add=webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server,
            servicer=self,
        )

    # What clients ask of it.

    async def CreateWebhook(self, request: Any, context: Any) -> Any:
        """The endpoint of the key, or a new one."""
        self._begin("CreateWebhook", request, context)
        if (known := self._known(request)) is not None:
            return known
        webhook = self.add(
            tenant=request.tenant,
            url=request.url,
            description=request.description,
            event_types=request.event_types,
            signature_scheme=request.signature_scheme,
        )
        response = notifier.CreateWebhookResponse(webhook=webhook, secret="whsec_Y3JlYXRlZA==")
        if request.signature_scheme == notifier.SIGNATURE_SCHEME_V1A:
            webhook.public_keys.append("whpk_Y3JlYXRlZA==")
            response = notifier.CreateWebhookResponse(webhook=webhook)
        return self._remember(request, response)

    async def GetWebhook(self, request: Any, context: Any) -> Any:
        """The endpoint."""
        self._begin("GetWebhook", request, context)
        return notifier.GetWebhookResponse(webhook=self._find(request))

    async def ListWebhooks(self, request: Any, context: Any) -> Any:
        """Every endpoint of the tenant."""
        self._begin("ListWebhooks", request, context)
        found = [webhook for webhook in self.webhooks.values() if webhook.tenant == request.tenant]
        return notifier.ListWebhooksResponse(webhooks=found, next_page_token=self._page(request))

    async def UpdateWebhook(self, request: Any, context: Any) -> Any:
        """The endpoint with the fields that are set."""
        self._begin("UpdateWebhook", request, context)
        webhook = self._find(request)
        for name in ("url", "description", "enabled"):
            if request.HasField(name):
                setattr(webhook, name, getattr(request, name))
        if request.HasField("event_types"):
            webhook.event_types[:] = request.event_types.entries
        disabled = notifier.WebhookHealth(
            state=notifier.WEBHOOK_STATE_DISABLED,
            disabled_reason=notifier.DISABLED_REASON_BY_TENANT,
            disabled_at=_time(),
        )
        healthy = notifier.WebhookHealth(state=notifier.WEBHOOK_STATE_HEALTHY)
        webhook.health.CopyFrom(healthy if webhook.enabled else disabled)
        return notifier.UpdateWebhookResponse(webhook=webhook)

    async def DeleteWebhook(self, request: Any, context: Any) -> Any:
        """Forget an endpoint; another tenant's is not found."""
        self._begin("DeleteWebhook", request, context)
        if request.webhook_id in self.webhooks:
            del self.webhooks[self._find(request).id]
        return notifier.DeleteWebhookResponse()

    async def RotateSecret(self, request: Any, context: Any) -> Any:
        """The new secret of the key, or another."""
        self._begin("RotateSecret", request, context)
        if (known := self._known(request)) is not None:
            return known
        response = notifier.RotateSecretResponse(secret="whsec_cm90YXRlZA==")
        if request.webhook_id and self._find(request).signature_scheme == notifier.SIGNATURE_SCHEME_V1A:
            response = notifier.RotateSecretResponse(public_key="whpk_cm90YXRlZA==")
        response.old_expires_at.FromDatetime(NOON + timedelta(seconds=request.grace_seconds))
        return self._remember(request, response)

    async def GetSigningSecret(self, request: Any, context: Any) -> Any:
        """Always the same one."""
        self._begin("GetSigningSecret", request, context)
        return notifier.GetSigningSecretResponse(
            secret="whsec_c2lnbmluZw==", secrets=[notifier.SecretInfo(created_at=_time())]
        )

    async def TestWebhook(self, request: Any, context: Any) -> Any:
        """The scripted attempt."""
        self._begin("TestWebhook", request, context)
        self._find(request)
        return notifier.TestWebhookResponse(delivery_id=prefixed("msg", new_uuid7()), attempt=self.attempt)

    async def ListDeliveries(self, request: Any, context: Any) -> Any:
        """The deliveries that match, newest first."""
        self._begin("ListDeliveries", request, context)
        if request.webhook_id:
            self._find(request)
        found = [
            known.delivery
            for tenant, known in self.deliveries.values()
            if (tenant, known.delivery.webhook_id) == (request.tenant, request.webhook_id)
            and request.state in (notifier.DELIVERY_STATE_UNSPECIFIED, known.delivery.state)
            and request.event_type in ("", known.delivery.event_type)
        ]
        return notifier.ListDeliveriesResponse(deliveries=found[::-1], next_page_token=self._page(request))

    async def GetDelivery(self, request: Any, context: Any) -> Any:
        """The delivery with its attempts."""
        self._begin("GetDelivery", request, context)
        return self._delivery(request)

    async def Redeliver(self, request: Any, context: Any) -> Any:
        """Make a delivery pending that is not."""
        self._begin("Redeliver", request, context)
        delivery = self._delivery(request).delivery
        if delivery.state == notifier.DELIVERY_STATE_PENDING:
            raise refusal(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", "The delivery is pending.")
        delivery.state = notifier.DELIVERY_STATE_PENDING
        delivery.next_attempt_at.CopyFrom(_time())
        return notifier.RedeliverResponse(delivery=delivery)

    async def RedeliverRange(self, request: Any, context: Any) -> Any:
        """Make held and failed deliveries pending."""
        self._begin("RedeliverRange", request, context)
        webhook = self._find(request)
        held = (notifier.DELIVERY_STATE_HELD, notifier.DELIVERY_STATE_FAILED)
        found = [
            known.delivery
            for _, known in self.deliveries.values()
            if known.delivery.webhook_id == webhook.id and known.delivery.state in held
        ]
        for delivery in found:
            delivery.state = notifier.DELIVERY_STATE_PENDING
        return notifier.RedeliverRangeResponse(count=len(found))

    async def ListUnhealthyWebhooks(self, request: Any, context: Any) -> Any:
        """Every endpoint that is disabled."""
        self._begin("ListUnhealthyWebhooks", request, context)
        found = [
            notifier.UnhealthyWebhook(tenant=one.tenant, webhook_id=one.id, url=one.url, health=one.health)
            for one in self.webhooks.values()
            if not one.enabled
        ]
        return notifier.ListUnhealthyWebhooksResponse(webhooks=found)

    async def DeleteTenant(self, request: Any, context: Any) -> Any:
        """Nothing; neither the gateway nor a client asks."""
        raise AssertionError("nobody asks for this here")

    def _begin(self, method: str, request: Any, context: Any) -> None:
        self.asked.append(request)
        left = context.time_remaining()
        self.time_left.append(inf if left is None else left)
        if self.refusals[method]:
            raise self.refusals[method].pop(0)

    def _known(self, request: Any) -> Any:
        """The response to the request's idempotency key."""
        known = self._responses.get(_scope(request))
        if known is None:
            return None
        asked, response = known
        if asked != request:
            raise refusal(grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", "Another request.")
        replay = type(response)()
        replay.CopyFrom(response)
        replay.replayed = True
        return replay

    def _remember(self, request: Any, response: Any) -> Any:
        if request.idempotency_key:
            self._responses[_scope(request)] = (request, response)
        return response

    def _find(self, request: Any) -> notifier.Webhook:
        webhook = self.webhooks.get(request.webhook_id)
        if webhook is None or webhook.tenant != request.tenant:
            raise refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "There is no such webhook.")
        return webhook

    def _delivery(self, request: Any) -> notifier.GetDeliveryResponse:
        tenant, known = self.deliveries.get(request.delivery_id, ("", notifier.GetDeliveryResponse()))
        if tenant != request.tenant:
            raise refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "There is no such delivery.")
        return known

    def _page(self, request: Any) -> str:
        """The token of the next page; there are two pages where a test says so."""
        return "" if request.page_token else self.next_page_token


def _scope(request: Any) -> tuple[str, str, str]:
    return request.tenant, type(request).__name__, request.idempotency_key


def _time() -> Timestamp:
    noon = Timestamp()
    noon.FromDatetime(NOON)
    return noon


@asynccontextmanager
async def serving_webhooks(fake: FakeWebhookService, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve it; yields its address."""
    async with serve(listen, [fake.grpc_service()], ready=Readiness(), grace_seconds=0) as port:
        yield f"127.0.0.1:{port}"
