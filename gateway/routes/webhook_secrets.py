"""`/v1/webhooks/.../rotate-secret` and `/v1/webhooks/signing-secret`: the secrets that sign deliveries."""

import hashlib

from calotype.notifier.v1 import webhook_service_pb2 as notifier
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.auth.keyring import Principal
from gateway.dependencies import Dependencies, DependenciesOf, PrincipalOf, WebhookId, json_response
from gateway.requests import strict_json, validation
from gateway.requests.headers import idempotency_key
from gateway.schemas.webhook_requests import RotateSecret
from gateway.schemas.webhooks import RotatedSecretView, SigningSecretView
from gateway.views import webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
_SIGNING_SECRET = "signing-secret"  # noqa: S105 - part of a path
_ROTATED = openapi.success("The new secret, which no later response shows.", headers=("Idempotency-Replayed",))
_EXPIRED = "A repetition whose secret has expired and is deleted is 404."
_BODY = {**openapi.body(RotateSecret, required=False), "parameters": [openapi.IDEMPOTENCY_KEY]}


@router.get(
    f"/{_SIGNING_SECRET}",
    operation_id="getSigningSecret",
    summary="Get the signing secret of callback URLs",
    description="Returns the secret that signs deliveries to the `callback_url` of the tenant's jobs. It is created by "
    "the first call or delivery.",
    response_model=SigningSecretView,
    responses={200: openapi.success("The current secret."), **openapi.problems()},
)
async def get_signing_secret(deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns the secret that signs deliveries to callback URLs."""
    return json_response(webhooks.signing_secret(await deps.webhooks.signing_secret(principal.tenant)))


@router.post(
    f"/{_SIGNING_SECRET}/rotate-secret",
    operation_id="rotateSigningSecret",
    summary="Rotate the signing secret of callback URLs",
    description="Creates a new secret and returns it. For `grace_seconds`, deliveries to callback URLs are signed with "
    f"the old secret, too. {_EXPIRED}",
    response_model=RotatedSecretView,
    responses={200: _ROTATED, **openapi.problems(400, 404, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def rotate_signing_secret(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Replaces the secret that signs deliveries to callback URLs."""
    return await _rotate(request, deps, principal, webhook_id="")


@router.post(
    "/{webhook_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Rotate the secret of a webhook",
    description="Creates a new secret and returns it. For `grace_seconds`, deliveries are signed with the old secret, "
    f"too. {_EXPIRED}",
    response_model=RotatedSecretView,
    responses={200: _ROTATED, **openapi.problems(400, 404, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def rotate_webhook_secret(
    webhook_id: WebhookId, request: Request, deps: DependenciesOf, principal: PrincipalOf
) -> Response:
    """Replaces the secret of an endpoint."""
    return await _rotate(request, deps, principal, webhook_id=webhook_id)


async def _rotate(request: Request, deps: Dependencies, principal: Principal, *, webhook_id: str) -> Response:
    key = idempotency_key(request)
    async with deps.bodies.read(request, may_be_empty=True) as raw:
        body = await deps.parse(_parse, raw)
    response = await deps.webhooks.rotate(
        notifier.RotateSecretRequest(
            tenant=principal.tenant,
            # A key is for one path. Hashed, as the id and a long key together would exceed the length of a key.
            idempotency_key=f"{webhook_id or _SIGNING_SECRET}:{hashlib.sha256(key.encode()).hexdigest()}",
            webhook_id=webhook_id,
            grace_seconds=body.grace_seconds,
        )
    )
    headers = {"Idempotency-Replayed": "true"} if response.replayed else None
    return json_response(webhooks.rotated(response), headers=headers)


def _parse(raw: bytes) -> RotateSecret:
    return validation.check(RotateSecret, strict_json.parse(raw)) if raw else RotateSecret()
