"""`/v1/admin/.../{name}:pause` and `:resume`: what operators keep from being claimed."""

from typing import Annotated, Any

from calotype.ops.v1 import job_admin_service_pb2 as ops
from fastapi import APIRouter, Path, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import Dependencies, DependenciesOf, OperatorOf, TenantName, json_response
from gateway.requests import strict_json, validation
from gateway.schemas.pauses import CreatePause, PauseList, PauseView, ResumedView
from gateway.views import admin

router = APIRouter(prefix="/v1/admin", tags=["admin"])
ProviderName = Annotated[str, Path(max_length=100, description="Name of the provider.")]
_HELD = "Jobs that a worker holds go on, and new jobs are accepted and wait. A repetition changes the note."
_PAUSED: dict[int | str, Any] = {200: openapi.success("The pause.")}
_RESUMED = {200: openapi.success("Whether it was paused."), **openapi.problems(422)}
_BODY = openapi.body(CreatePause, required=False)


@router.get(
    "/pauses",
    operation_id="listPauses",
    summary="List pauses",
    description="Returns what is paused now: providers, tenants, the queue.",
    response_model=PauseList,
    responses={200: openapi.success("Every pause in effect."), **openapi.problems()},
)
async def list_pauses(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns what is paused, by whom, since when and why."""
    return json_response(PauseList(pauses=[admin.pause(found) for found in await deps.operator.pauses()]))


@router.post(
    "/providers/{name}:pause",
    operation_id="pauseProvider",
    summary="Pause a provider",
    description=f"No waiting job is claimed for the provider; jobs with a fallback go to that. {_HELD}",
    response_model=PauseView,
    responses={**_PAUSED, **openapi.problems(400, 404, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def pause_provider(name: ProviderName, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Pauses a provider that a generator has registered."""
    return await _pause(request, deps, ops.PAUSE_KIND_PROVIDER, name)


@router.post(
    "/providers/{name}:resume",
    operation_id="resumeProvider",
    summary="Resume a provider",
    description="Ends the pause of a provider, and wakes generators.",
    response_model=ResumedView,
    responses=_RESUMED,
)
async def resume_provider(name: ProviderName, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Ends the pause of a provider."""
    return await _resume(request, deps, ops.PAUSE_KIND_PROVIDER, name)


@router.post(
    "/tenants/{name}:pause",
    operation_id="pauseTenant",
    summary="Pause a tenant",
    description=f"No waiting job of the tenant is claimed. The tenant need not have any jobs. {_HELD}",
    response_model=PauseView,
    responses={**_PAUSED, **openapi.problems(400, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def pause_tenant(name: TenantName, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Pauses a tenant, also one that has no jobs yet."""
    return await _pause(request, deps, ops.PAUSE_KIND_TENANT, name)


@router.post(
    "/tenants/{name}:resume",
    operation_id="resumeTenant",
    summary="Resume a tenant",
    description="Ends the pause of a tenant, and wakes generators.",
    response_model=ResumedView,
    responses=_RESUMED,
)
async def resume_tenant(name: TenantName, request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Ends the pause of a tenant."""
    return await _resume(request, deps, ops.PAUSE_KIND_TENANT, name)


@router.post(
    "/queue:pause",
    operation_id="pauseQueue",
    summary="Pause the queue",
    description=f"No waiting job of any tenant is claimed. {_HELD}",
    response_model=PauseView,
    responses={**_PAUSED, **openapi.problems(400, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def pause_queue(request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Pauses all claims by generators."""
    return await _pause(request, deps, ops.PAUSE_KIND_QUEUE, "")


@router.post(
    "/queue:resume",
    operation_id="resumeQueue",
    summary="Resume the queue",
    description="Ends the pause of the queue, and wakes generators. Paused providers and tenants stay paused.",
    response_model=ResumedView,
    responses={200: openapi.success("Whether it was paused."), **openapi.problems()},
)
async def resume_queue(request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Ends the pause of all claims."""
    return await _resume(request, deps, ops.PAUSE_KIND_QUEUE, "")


async def _pause(request: Request, deps: Dependencies, kind: ops.PauseKind.ValueType, name: str) -> Response:
    async with deps.bodies.read(request, may_be_empty=True) as raw:
        body = validation.check(CreatePause, strict_json.parse(raw) if raw else {})
    actor = audit.actor_of(request.scope)
    paused = await deps.operator.pause(kind, name, note=body.note, principal=f"{actor.tenant}/{actor.name}")
    return json_response(admin.pause(paused))


async def _resume(request: Request, deps: Dependencies, kind: ops.PauseKind.ValueType, name: str) -> Response:
    return json_response(ResumedView(resumed=await deps.operator.resume(kind, name)))
