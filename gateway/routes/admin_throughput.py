"""`/v1/admin/throughput`: jobs that ended lately, for operators."""

from fastapi import APIRouter, Response

from gateway.api_docs import openapi
from gateway.dependencies import DependenciesOf, OperatorOf, json_response
from gateway.schemas.throughput import ThroughputView
from gateway.views import throughput

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.get(
    "/throughput",
    operation_id="getThroughput",
    summary="Get throughput and failures",
    description="Returns how many jobs ended in the last hour, minute by minute, why those that failed did, and how "
    "long the oldest job of each stage has been in it. At most the 2,000 jobs that ended last are counted.",
    response_model=ThroughputView,
    responses={200: openapi.success("Jobs that ended lately, and the age of each stage."), **openapi.problems()},
)
async def get_throughput(deps: DependenciesOf, operator: OperatorOf) -> Response:
    """Returns how many jobs ended in the last hour."""
    return json_response(throughput.throughput(await deps.operator.throughput()))
