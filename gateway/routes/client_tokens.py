"""`/v1/client-tokens`: tokens with which a browser can access one job without an API key."""

from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit, client_tokens
from gateway.dependencies import DependenciesOf, PrincipalOf, job_id_of, json_response
from gateway.requests import strict_json, validation
from gateway.requests.headers import idempotency_key
from gateway.schemas.client_tokens import ClientTokenView
from gateway.schemas.requests import CreateClientToken

router = APIRouter(prefix="/v1/client-tokens", tags=["client tokens"])


@router.post(
    "",
    operation_id="createClientToken",
    summary="Create a client token",
    description="Creates a token with which a page in a browser reads one job, and cancels or retries it if `actions` "
    "allows that. The service does not store it: repeating the request makes another token, whatever the "
    "Idempotency-Key.",
    status_code=201,
    response_model=ClientTokenView,
    responses={
        201: openapi.success("A token for one job, valid until `expires_at`."),
        **openapi.problems(400, 404, 413, 415, 422),
    },
    openapi_extra={**openapi.body(CreateClientToken), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def create_client_token(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Creates a token with which a browser can read and follow one job, and cancel or retry it if `actions` say so.

    Tokens are not stored: every call returns a new one with the same rights, even with the same Idempotency-Key.
    """
    idempotency_key(request)
    async with deps.bodies.read(request) as raw:
        body = validation.check(CreateClientToken, await deps.parse(strict_json.parse, raw))
    audit.note_object(request.scope, body.job_id)
    job = await deps.jobs.get(principal.tenant, job_id_of(body.job_id))
    token, grant = deps.authenticator.client_token(principal, job.id, body.actions, body.ttl_seconds)
    actions = client_tokens.ordered(grant.actions)
    view = ClientTokenView(token=token, job_id=job.id, actions=actions, expires_at=grant.expires_at)
    return json_response(view, status=201)
