"""`/v1/webhooks/.../deliveries`, `test` and `redeliver`: what was sent to receivers, and sending it again."""

from calotype.notifier.v1 import webhook_service_pb2 as notifier
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.dependencies import DeliveryId, DependenciesOf, PrincipalOf, WebhookId, json_response, not_found
from gateway.requests import queries, strict_json, validation
from gateway.requests.headers import idempotency_key
from gateway.schemas.webhook_requests import ListDeliveries, RedeliverRange
from gateway.schemas.webhooks import (
    DeliveryPage,
    DeliveryView,
    DeliveryWithAttemptsView,
    RedeliveryView,
    WebhookTestView,
)
from gateway.views import webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
#: In place of an endpoint's id: the callback URLs of all the tenant's jobs.
CALLBACKS = "callbacks"


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    summary="List deliveries, newest first",
    description="Returns a page of the deliveries to an endpoint that match every filter; with the id `callbacks`, of "
    "those to the `callback_url` of the tenant's jobs.",
    response_model=DeliveryPage,
    responses={200: openapi.success("A page of deliveries."), **openapi.problems(404, 422)},
    openapi_extra={"parameters": openapi.query_parameters(ListDeliveries)},
)
async def list_deliveries(
    webhook_id: WebhookId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Returns a page of deliveries; new ones do not shift the pages that follow."""
    query = queries.check(ListDeliveries, request)
    page = await deps.webhooks.deliveries(deliveries_request(principal.tenant, webhook_id, query))
    views = [webhooks.delivery(message) for message in page.deliveries]
    return json_response(DeliveryPage(deliveries=views, next_page_token=page.next_page_token or None))


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    operation_id="getDelivery",
    summary="Get a delivery with its attempts",
    description="Returns a delivery and its last attempts, at most 50, with what the receiver responded.",
    response_model=DeliveryWithAttemptsView,
    responses={200: openapi.success("The delivery and its attempts."), **openapi.problems(404)},
)
async def get_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Returns a delivery with its attempts."""
    response = await deps.webhooks.delivery(principal.tenant, delivery_id)
    if response.delivery.webhook_id != _endpoint(webhook_id):
        raise not_found("delivery")
    return json_response(webhooks.delivery_with_attempts(response))


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver",
    summary="Send a delivery again",
    description="Makes the delivery due now, with the same `webhook-id`. It is 409 while the delivery is pending, as "
    "after a first call, and while its endpoint is disabled; the Idempotency-Key changes nothing about that.",
    status_code=202,
    response_model=DeliveryView,
    responses={202: openapi.success("The delivery, which is due now."), **openapi.problems(404, 409, 422)},
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def redeliver(
    delivery_id: DeliveryId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Makes a delivery due now."""
    idempotency_key(request)
    return json_response(webhooks.delivery(await deps.webhooks.redeliver(principal.tenant, delivery_id)), status=202)


@router.post(
    "/{webhook_id}/redeliver",
    operation_id="redeliverRange",
    summary="Send the deliveries of a time range again",
    description="Makes the held and failed deliveries of a time range due, oldest first, as fast as the endpoint's "
    "rate allows. Repeating the call changes nothing more, whatever the Idempotency-Key.",
    status_code=202,
    response_model=RedeliveryView,
    responses={
        202: openapi.success("The number of deliveries that were made due."),
        **openapi.problems(400, 404, 409, 413, 415, 422),
    },
    openapi_extra={**openapi.body(RedeliverRange), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def redeliver_range(
    webhook_id: WebhookId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Makes the held and failed deliveries of a time range due."""
    idempotency_key(request)
    async with deps.bodies.read(request) as raw:
        body = validation.check(RedeliverRange, await deps.parse(strict_json.parse, raw))
    message = notifier.RedeliverRangeRequest(tenant=principal.tenant, webhook_id=webhook_id)
    message.after.FromDatetime(body.after)
    if body.before is not None:
        message.before.FromDatetime(body.before)
    return json_response(RedeliveryView(count=await deps.webhooks.redeliver_range(message)), status=202)


@router.post(
    "/{webhook_id}/test",
    operation_id="testWebhook",
    summary="Test a webhook",
    description="Posts one event of type `webhook.test` to the endpoint and returns the attempt, which takes up to 20 "
    "seconds. It is not retried and does not change the endpoint's health. Repeating the call sends another event, "
    "whatever the Idempotency-Key. While another test of the tenant is in progress, the response is 429.",
    response_model=WebhookTestView,
    responses={200: openapi.success("The attempt, successful or not."), **openapi.problems(404, 422)},
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def test_webhook(
    webhook_id: WebhookId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Sends a test event and returns the attempt."""
    idempotency_key(request)
    return json_response(webhooks.test_result(await deps.webhooks.test(principal.tenant, webhook_id)))


def deliveries_request(tenant: str, webhook_id: str, query: ListDeliveries) -> notifier.ListDeliveriesRequest:
    """Returns the request of a page of deliveries; `webhook_id` may be `CALLBACKS`."""
    return notifier.ListDeliveriesRequest(
        tenant=tenant,
        webhook_id=_endpoint(webhook_id),
        state=notifier.DeliveryState.Value(f"DELIVERY_STATE_{(query.state or 'unspecified').upper()}"),
        event_type=query.event_type or "",
        page_size=query.page_size,
        page_token=query.page_token,
    )


def _endpoint(webhook_id: str) -> str:
    """Returns the id as the notifier has it: empty for callback URLs."""
    return "" if webhook_id == CALLBACKS else webhook_id
