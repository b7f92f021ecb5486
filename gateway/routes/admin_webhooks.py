"""`/v1/admin/webhooks`, `/v1/admin/tenants/{name}/webhooks`, `deliveries`: webhooks of any tenant, for operators."""

from calotype.notifier.v1 import webhook_service_pb2 as notifier
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import DeliveryId, DependenciesOf, OperatorOf, TenantName, WebhookId, json_response
from gateway.requests import queries
from gateway.requests.headers import idempotency_key
from gateway.routes.webhook_deliveries import deliveries_request
from gateway.schemas.webhook_requests import ListDeliveries, ListWebhooks
from gateway.schemas.webhooks import DeliveryPage, DeliveryView, UnhealthyWebhookList, WebhookPage
from gateway.views import webhooks

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/webhooks",
    operation_id="listUnhealthyWebhooks",
    summary="List unhealthy webhooks",
    description="Returns endpoints of all tenants, and origins of callback URLs, that get few or no deliveries: those "
    "whose circuit breaker is open, then disabled ones.",
    response_model=UnhealthyWebhookList,
    responses={200: openapi.success("Up to 100 endpoints."), **openapi.problems()},
)
async def list_unhealthy_webhooks(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns endpoints of all tenants that get few or no deliveries."""
    return json_response(webhooks.unhealthy(await deps.webhooks.unhealthy()))


@router.get(
    "/tenants/{name}/webhooks",
    operation_id="listTenantWebhooks",
    summary="List webhooks of a tenant, oldest first",
    description="Returns a page of the endpoints of any tenant with their health. A tenant without any has an empty "
    "page, also one that does not exist.",
    response_model=WebhookPage,
    responses={200: openapi.success("A page of endpoints."), **openapi.problems(422)},
    openapi_extra={"parameters": openapi.query_parameters(ListWebhooks)},
)
async def list_tenant_webhooks(
    name: TenantName, request: Request, deps: DependenciesOf, operator: OperatorOf
) -> Response:
    """Returns a page of a tenant's endpoints."""
    query = queries.check(ListWebhooks, request)
    page = await deps.webhooks.page(
        notifier.ListWebhooksRequest(tenant=name, page_size=query.page_size, page_token=query.page_token)
    )
    views = [webhooks.webhook(message) for message in page.webhooks]
    return json_response(WebhookPage(webhooks=views, next_page_token=page.next_page_token or None))


@router.get(
    "/tenants/{name}/webhooks/{webhook_id}/deliveries",
    operation_id="listTenantDeliveries",
    summary="List deliveries of a tenant, newest first",
    description="Returns a page of the deliveries to an endpoint of any tenant that match every filter; with the id "
    "`callbacks`, of those to the `callback_url` of the tenant's jobs.",
    response_model=DeliveryPage,
    responses={200: openapi.success("A page of deliveries."), **openapi.problems(404, 422)},
    openapi_extra={"parameters": openapi.query_parameters(ListDeliveries)},
)
async def list_tenant_deliveries(
    name: TenantName, webhook_id: WebhookId, request: Request, deps: DependenciesOf, operator: OperatorOf
) -> Response:
    """Returns a page of deliveries."""
    query = queries.check(ListDeliveries, request)
    page = await deps.webhooks.deliveries(deliveries_request(name, webhook_id, query))
    views = [webhooks.delivery(message) for message in page.deliveries]
    return json_response(DeliveryPage(deliveries=views, next_page_token=page.next_page_token or None))


@router.post(
    "/tenants/{name}/deliveries/{delivery_id}:redeliver",
    operation_id="redeliverForTenant",
    summary="Send a delivery of a tenant again",
    description="Makes a delivery of any tenant due now, with the same `webhook-id`. It is 409 while the delivery is "
    "pending, as after a first call, and while its endpoint is disabled, whatever the Idempotency-Key.",
    status_code=202,
    response_model=DeliveryView,
    responses={202: openapi.success("The delivery, which is due now."), **openapi.problems(404, 409, 422)},
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def redeliver_for_tenant(
    name: TenantName, delivery_id: DeliveryId, request: Request, deps: DependenciesOf, operator: OperatorOf
) -> Response:
    """Makes a delivery due now."""
    idempotency_key(request)
    return json_response(webhooks.delivery(await deps.webhooks.redeliver(name, delivery_id)), status=202)
