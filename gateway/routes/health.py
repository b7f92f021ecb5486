"""Whether the gateway lives and can serve."""

from fastapi import APIRouter, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, json_response
from gateway.schemas.health import AliveView, ConditionView, ReadyView

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    operation_id="isAlive",
    summary="Whether the process lives",
    response_model=AliveView,
    responses={200: openapi.success("It does.")},
)
async def is_alive() -> Response:
    """The process answers; what it depends on is not asked."""
    return json_response(AliveView(status="ok"))


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Whether requests can be served",
    response_model=ReadyView,
    responses={
        200: openapi.success("They can."),
        503: openapi.success("They cannot now.", model=ReadyView),
    },
)
async def is_ready(deps: DependenciesOf) -> Response:
    """Whether job-service can be reached and the gateway is not about to stop."""
    conditions = [
        *(ConditionView(name=one.name, ok=one.ok, message=one.message) for one in deps.ready.report()),
        ConditionView(name="running", ok=not deps.draining.is_set(), message=""),
    ]
    ready = all(one.ok for one in conditions)
    return json_response(
        ReadyView(status="ok" if ready else "unavailable", conditions=conditions), status=200 if ready else 503
    )
