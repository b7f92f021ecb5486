"""WebhookService: endpoints of tenants and the deliveries to them, for the gateway."""

from typing import Any

from calotype.notifier.v1 import webhook_service_pb2 as pb
from calotype.notifier.v1 import webhook_service_pb2_grpc

from common.grpc_server import GrpcService
from common.ids import prefixed
from services.notifier.application.webhooks import Webhooks
from services.notifier.domain.endpoints import SignatureScheme
from services.notifier.grpc_api import from_protobuf, to_protobuf
from services.notifier.grpc_api.status_codes import translate_errors
from services.notifier.grpc_api.validation import check_names


class WebhookService(webhook_service_pb2_grpc.WebhookServiceServicer):
    """Serves `calotype.notifier.v1.WebhookService`."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def grpc_service(self) -> GrpcService:
        """Returns this service for `common.grpc_server.serve`."""
        return GrpcService(
            name="calotype.notifier.v1.WebhookService",
            add=webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server,
            servicer=self,
        )

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Any) -> pb.CreateWebhookResponse:
        """Creates an endpoint; returns it with its secret."""
        check_names(request.tenant, request.idempotency_key)

        async def work() -> pb.CreateWebhookResponse:
            created = await self._webhooks.create(from_protobuf.new_webhook(request))
            return pb.CreateWebhookResponse(
                webhook=to_protobuf.webhook(created.webhook),
                secret=to_protobuf.secret(created.secret, created.webhook.endpoint.scheme),
                replayed=created.replayed,
            )

        return await translate_errors(work())

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Any) -> pb.GetWebhookResponse:
        """Returns an endpoint with its health."""
        check_names(request.tenant)
        found = await translate_errors(self._webhooks.get(request.tenant, request.webhook_id))
        return pb.GetWebhookResponse(webhook=to_protobuf.webhook(found))

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        """Returns a page of the tenant's endpoints, oldest first."""
        check_names(request.tenant)
        found, token = await translate_errors(
            self._webhooks.list(request.tenant, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListWebhooksResponse(webhooks=[to_protobuf.webhook(value) for value in found], next_page_token=token)

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Any) -> pb.UpdateWebhookResponse:
        """Changes the fields that are set."""
        check_names(request.tenant)
        change = from_protobuf.change(request)
        changed = await translate_errors(self._webhooks.update(request.tenant, request.webhook_id, change))
        return pb.UpdateWebhookResponse(webhook=to_protobuf.webhook(changed))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Any) -> pb.DeleteWebhookResponse:
        """Deletes an endpoint."""
        check_names(request.tenant)
        await translate_errors(self._webhooks.delete(request.tenant, request.webhook_id))
        return pb.DeleteWebhookResponse()

    async def RotateSecret(self, request: pb.RotateSecretRequest, context: Any) -> pb.RotateSecretResponse:
        """Creates a new secret of an endpoint, or of callback URLs, and returns it."""
        check_names(request.tenant, request.idempotency_key)
        rotated = await translate_errors(
            self._webhooks.rotate_secret(
                request.tenant,
                request.webhook_id,
                idempotency_key=request.idempotency_key,
                grace_seconds=from_protobuf.optional(request, "grace_seconds"),
            )
        )
        return pb.RotateSecretResponse(
            secret=to_protobuf.secret(rotated.secret, rotated.scheme),
            public_key=to_protobuf.public_key(rotated.secret, rotated.scheme),
            old_expires_at=to_protobuf.timestamp(rotated.old_expires_at),
            replayed=rotated.replayed,
        )

    async def GetSigningSecret(self, request: pb.GetSigningSecretRequest, context: Any) -> pb.GetSigningSecretResponse:
        """Returns the secret of callback URLs; creates it if there is none."""
        check_names(request.tenant)
        secrets = await translate_errors(self._webhooks.signing_secret(request.tenant))
        return pb.GetSigningSecretResponse(
            secret=to_protobuf.secret(secrets[0], SignatureScheme.V1), secrets=to_protobuf.secret_infos(secrets)
        )

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Any) -> pb.TestWebhookResponse:
        """Sends one event at once; returns the attempt."""
        check_names(request.tenant)
        delivery_id, attempt = await translate_errors(self._webhooks.test(request.tenant, request.webhook_id))
        return pb.TestWebhookResponse(delivery_id=prefixed("msg", delivery_id), attempt=to_protobuf.attempt(attempt))

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        """Returns a page of deliveries, newest first."""
        check_names(request.tenant)

        async def work() -> pb.ListDeliveriesResponse:
            found, token = await self._webhooks.list_deliveries(
                from_protobuf.filters(request), page_size=request.page_size, page_token=request.page_token
            )
            deliveries = [to_protobuf.delivery(value) for value in found]
            return pb.ListDeliveriesResponse(deliveries=deliveries, next_page_token=token)

        return await translate_errors(work())

    async def GetDelivery(self, request: pb.GetDeliveryRequest, context: Any) -> pb.GetDeliveryResponse:
        """Returns a delivery with its last attempts, oldest first."""
        check_names(request.tenant)
        delivery, attempts = await translate_errors(self._webhooks.get_delivery(request.tenant, request.delivery_id))
        return pb.GetDeliveryResponse(
            delivery=to_protobuf.delivery(delivery), attempts=[to_protobuf.attempt(attempt) for attempt in attempts]
        )

    async def Redeliver(self, request: pb.RedeliverRequest, context: Any) -> pb.RedeliverResponse:
        """Makes a delivery due now."""
        check_names(request.tenant)
        changed = await translate_errors(self._webhooks.redeliver(request.tenant, request.delivery_id))
        return pb.RedeliverResponse(delivery=to_protobuf.delivery(changed))

    async def RedeliverRange(self, request: pb.RedeliverRangeRequest, context: Any) -> pb.RedeliverRangeResponse:
        """Makes the held and failed deliveries of a time range due."""
        check_names(request.tenant)

        async def work() -> pb.RedeliverRangeResponse:
            count = await self._webhooks.redeliver_range(
                request.tenant,
                request.webhook_id,
                after=from_protobuf.moment(request, "after"),
                before=from_protobuf.moment(request, "before"),
            )
            return pb.RedeliverRangeResponse(count=count)

        return await translate_errors(work())

    async def ListUnhealthyWebhooks(
        self, request: pb.ListUnhealthyWebhooksRequest, context: Any
    ) -> pb.ListUnhealthyWebhooksResponse:
        """Returns endpoints of all tenants that get few or no deliveries."""
        found, has_more = await translate_errors(self._webhooks.list_unhealthy())
        return pb.ListUnhealthyWebhooksResponse(
            webhooks=[to_protobuf.unhealthy(endpoint) for endpoint in found], has_more=has_more
        )

    async def DeleteTenant(self, request: pb.DeleteTenantRequest, context: Any) -> pb.DeleteTenantResponse:
        """Deletes everything of a tenant."""
        check_names(request.tenant)
        count = await translate_errors(self._webhooks.delete_tenant(request.tenant))
        return pb.DeleteTenantResponse(webhooks=count)
