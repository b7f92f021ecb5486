"""`/v1/admin/bulk-actions`: cancel or retry every job of a filter, for operators."""

from typing import Annotated, Any

from calotype.ops.v1 import bulk_action_service_pb2 as bulk
from fastapi import APIRouter, Path, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import Dependencies, DependenciesOf, OperatorOf, json_response
from gateway.requests import strict_json, to_protobuf, validation
from gateway.requests.headers import idempotency_key
from gateway.routes.admin_jobs import job_filter
from gateway.schemas.bulk_actions import BulkActionList, BulkActionView, BulkPreviewView, CreateBulkAction
from gateway.views import bulk_actions

router = APIRouter(prefix="/v1/admin/bulk-actions", tags=["admin"])
BulkActionId = Annotated[str, Path(max_length=80, description="Id of the bulk action.")]
_BODY = openapi.body(CreateBulkAction)
_FOUND: dict[int | str, Any] = {200: openapi.success("The bulk action."), **openapi.problems(404, 422)}


@router.post(
    ":preview",
    operation_id="previewBulkAction",
    summary="Count the jobs of a bulk action",
    description="Returns how many jobs the bulk action would look at now, and changes nothing.",
    response_model=BulkPreviewView,
    responses={200: openapi.success("The number of jobs."), **openapi.problems(400, 413, 415, 422)},
    openapi_extra=_BODY,
)
async def preview_bulk_action(request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Counts the jobs, up to 10,000."""
    return json_response(bulk_actions.preview(await deps.operator.preview_bulk_action(await _read(request, deps))))


@router.post(
    "",
    operation_id="createBulkAction",
    summary="Cancel or retry every job of a filter",
    description="Starts a bulk action, which works on the server, and also after a restart. Each job gets what a "
    "user's own cancel or retry would do, once; jobs that are created after the request are not touched. Quotas of "
    "tenants do not apply; budgets do.",
    status_code=202,
    response_model=BulkActionView,
    responses={
        202: openapi.success("The bulk action; poll it for its progress.", headers=("Idempotency-Replayed",)),
        **openapi.problems(400, 413, 415, 422),
    },
    openapi_extra={**_BODY, "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def create_bulk_action(request: Request, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Starts a bulk action; a repetition with the same Idempotency-Key starts no second one."""
    key = idempotency_key(request)
    wanted = await _read(request, deps)
    actor = audit.actor_of(request.scope)
    created = await deps.operator.create_bulk_action(wanted, principal=f"{actor.tenant}/{actor.name}", key=key)
    audit.note_object(request.scope, created.bulk_action.id)
    headers = {"Idempotency-Replayed": "true"} if created.replayed else {}
    return json_response(bulk_actions.bulk_action(created.bulk_action), status=202, headers=headers)


@router.get(
    "",
    operation_id="listBulkActions",
    summary="List bulk actions, newest first",
    description="Returns the 50 newest bulk actions.",
    response_model=BulkActionList,
    responses={200: openapi.success("The newest bulk actions."), **openapi.problems()},
)
async def list_bulk_actions(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns the newest bulk actions, running or over."""
    found = await deps.operator.bulk_actions()
    return json_response(BulkActionList(bulk_actions=[bulk_actions.bulk_action(action) for action in found]))


@router.get(
    "/{bulk_action_id}",
    operation_id="getBulkAction",
    summary="Get a bulk action",
    description="Returns a bulk action with its progress.",
    response_model=BulkActionView,
    responses=_FOUND,
)
async def get_bulk_action(bulk_action_id: BulkActionId, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns how far a bulk action is."""
    return json_response(bulk_actions.bulk_action(await deps.operator.bulk_action(bulk_action_id)))


@router.post(
    "/{bulk_action_id}:cancel",
    operation_id="cancelBulkAction",
    summary="Stop a bulk action",
    description="After the response no further job is touched; what was done stays. One that is over stays as it is.",
    response_model=BulkActionView,
    responses=_FOUND,
)
async def cancel_bulk_action(bulk_action_id: BulkActionId, deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Stops a running bulk action."""
    return json_response(bulk_actions.bulk_action(await deps.operator.cancel_bulk_action(bulk_action_id)))


async def _read(request: Request, deps: Dependencies) -> bulk.BulkActionRequest:
    async with deps.bodies.read(request) as raw:
        body = validation.check(CreateBulkAction, strict_json.parse(raw))
    return bulk.BulkActionRequest(
        kind=bulk.BulkActionKind.Value(f"BULK_ACTION_KIND_{body.action.upper()}"),
        filter=job_filter(body.filter),
        on_ambiguous=to_protobuf.on_ambiguous(body.on_ambiguous),
    )
