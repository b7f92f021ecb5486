"""`/healthz` and `/readyz`: probes for orchestrators."""

from fastapi import APIRouter, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, json_response
from gateway.schemas.health import AliveView, ConditionView, ReadyView

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    operation_id="isAlive",
    summary="Liveness",
    description="Responds as long as the process runs, without a check of what it depends on.",
    response_model=AliveView,
    responses={200: openapi.success("The process runs.")},
)
async def is_alive() -> Response:
    """Returns 200 while the process runs; does not check its dependencies."""
    return json_response(AliveView(status="ok"))


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Readiness",
    description="Returns whether job-service can be reached and the gateway is not about to stop.",
    response_model=ReadyView,
    responses={
        200: openapi.success("The gateway can serve requests."),
        503: openapi.success("The gateway cannot serve requests now.", model=ReadyView),
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
