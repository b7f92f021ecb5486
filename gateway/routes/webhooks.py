"""`/v1/webhooks`: webhook endpoints of a tenant."""

from calotype.notifier.v1 import webhook_service_pb2 as notifier
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import DependenciesOf, PrincipalOf, WebhookId, json_response, root_of
from gateway.requests import queries, strict_json, validation
from gateway.requests.headers import idempotency_key
from gateway.schemas.webhook_requests import CreateWebhook, ListWebhooks, UpdateWebhook
from gateway.schemas.webhooks import CreatedWebhookView, WebhookPage, WebhookView
from gateway.views import webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    operation_id="createWebhook",
    summary="Create a webhook",
    description="Creates an endpoint that events are posted to, and returns it with its secret. Events that occur from "
    "now on are delivered. The number of endpoints of a tenant is limited; beyond it the response is 429. A repetition "
    "whose endpoint was deleted meanwhile is 404.",
    status_code=201,
    response_model=CreatedWebhookView,
    responses={
        201: openapi.success(
            "The endpoint and its secret; `Location` is its address.", headers=("Location", "Idempotency-Replayed")
        ),
        **openapi.problems(400, 404, 413, 415, 422),
    },
    openapi_extra={**openapi.body(CreateWebhook), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def create_webhook(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Creates an endpoint. Its secret is in this response alone."""
    key = idempotency_key(request)
    async with deps.bodies.read(request) as raw:
        body = validation.check(CreateWebhook, await deps.parse(strict_json.parse, raw))
    response = await deps.webhooks.create(
        notifier.CreateWebhookRequest(
            tenant=principal.tenant,
            idempotency_key=key,
            url=body.url,
            description=body.description or "",
            event_types=body.event_types,
            signature_scheme=notifier.SignatureScheme.Value(f"SIGNATURE_SCHEME_{body.signature_scheme.upper()}"),
        )
    )
    view = webhooks.created(response)
    audit.note_object(request.scope, view.id)
    headers = {"Location": f"{root_of(request)}/v1/webhooks/{view.id}"}
    if response.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(view, status=201, headers=headers)


@router.get(
    "",
    operation_id="listWebhooks",
    summary="List webhooks, oldest first",
    description="Returns a page of the tenant's endpoints with their health.",
    response_model=WebhookPage,
    responses={200: openapi.success("A page of endpoints."), **openapi.problems(422)},
    openapi_extra={"parameters": openapi.query_parameters(ListWebhooks)},
)
async def list_webhooks(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns a page of the tenant's endpoints."""
    query = queries.check(ListWebhooks, request)
    page = await deps.webhooks.page(
        notifier.ListWebhooksRequest(tenant=principal.tenant, page_size=query.page_size, page_token=query.page_token)
    )
    views = [webhooks.webhook(message) for message in page.webhooks]
    return json_response(WebhookPage(webhooks=views, next_page_token=page.next_page_token or None))


@router.get(
    "/{webhook_id}",
    operation_id="getWebhook",
    summary="Get a webhook",
    description="Returns an endpoint with its health, without its secret.",
    response_model=WebhookView,
    responses={200: openapi.success("The endpoint."), **openapi.problems(404)},
)
async def get_webhook(webhook_id: WebhookId, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns an endpoint with its health."""
    return json_response(webhooks.webhook(await deps.webhooks.get(principal.tenant, webhook_id)))


@router.patch(
    "/{webhook_id}",
    operation_id="updateWebhook",
    summary="Change a webhook",
    description="Changes the fields that are sent; the others stay. Enabling a disabled endpoint resets its health; "
    "events that were held meanwhile stay held until they are redelivered.",
    response_model=WebhookView,
    responses={200: openapi.success("The endpoint as changed."), **openapi.problems(400, 404, 413, 415, 422)},
    openapi_extra=openapi.body(UpdateWebhook),
)
async def update_webhook(
    webhook_id: WebhookId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Changes an endpoint; fields that are left out stay as they are."""
    async with deps.bodies.read(request) as raw:
        body = validation.check(UpdateWebhook, await deps.parse(strict_json.parse, raw))
    sent = body.model_fields_set
    message = notifier.UpdateWebhookRequest(
        tenant=principal.tenant,
        webhook_id=webhook_id,
        url=body.url,
        description=(body.description or "") if "description" in sent else None,
        event_types=notifier.EventTypes(entries=body.event_types or ()) if "event_types" in sent else None,
        enabled=body.enabled,
    )
    return json_response(webhooks.webhook(await deps.webhooks.update(message)))


@router.delete(
    "/{webhook_id}",
    operation_id="deleteWebhook",
    summary="Delete a webhook",
    description="Deletes an endpoint with its secrets and deliveries. Repeating the call succeeds.",
    status_code=204,
    responses={204: openapi.success("The endpoint is deleted."), **openapi.problems(404)},
)
async def delete_webhook(webhook_id: WebhookId, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Deletes an endpoint with its secrets and deliveries."""
    await deps.webhooks.delete(principal.tenant, webhook_id)
    return Response(status_code=204)
