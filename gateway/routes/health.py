"""`/healthz` and `/readyz`: probes for orchestrators."""

from fastapi import APIRouter, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, json_response
from gateway.schemas.health import AliveView, ConditionView, ReadyView

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    operation_id="isAlive",
    summary="Check that the process is alive",
    response_model=AliveView,
    responses={200: openapi.success("The process is alive.")},
)
async def is_alive() -> Response:
    """Returns 200 while the process runs; does not check its dependencies."""
    return json_response(AliveView(status="ok"))


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Check that requests can be served",
    response_model=ReadyView,
    responses={
        200: openapi.success("Requests can be served."),
        503: openapi.success("Requests cannot be served now; `conditions` say why.", model=ReadyView),
    },
)
async def is_ready(deps: DependenciesOf) -> Response:
    """Returns 200 if job-service is ready and the gateway is not stopping, else 503."""
    conditions = [
        *(
            ConditionView(name=condition.name, ok=condition.ok, message=condition.message)
            for condition in deps.ready.report()
        ),
        ConditionView(name="running", ok=not deps.draining.is_set(), message=""),
    ]
    ready = all(condition.ok for condition in conditions)
    return json_response(
        ReadyView(status="ok" if ready else "unavailable", conditions=conditions), status=200 if ready else 503
    )
