"""`/v1/jobs:batch`: submit many jobs with one request."""

import grpc
from calotype.error_reasons import Reason
from calotype.job.v1 import job_service_pb2
from fastapi import APIRouter, Request, Response

from common.audit import DONE, REPLAYED
from common.errors import FieldViolation, ServiceError
from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.dependencies import DependenciesOf, SubmitterOf, json_response
from gateway.http.middleware import instance_of, request_id_of
from gateway.job_service.submit import submit_batch
from gateway.problems.problem import Problem, from_service_error, view_of
from gateway.requests import job_batches
from gateway.requests.headers import idempotency_key
from gateway.schemas.job_batches import BatchJobResult, CreateJobBatch, JobBatchView
from gateway.views.job import Renderer

router = APIRouter(prefix="/v1/jobs:batch", tags=["jobs"])
#: What became of an item: its job, or why it has none.
_Outcome = job_service_pb2.CreateJobsResult | Problem
_REPLAYED = {"Idempotency-Replayed": "true"}
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
# A quota that is used up is the problem of single jobs.
_PROBLEMS = {status: response for status, response in openapi.problems(400, 413, 415, 422).items() if status != 429}


@router.post(
    "",
    operation_id="createJobs",
    summary="Submit up to 100 jobs",
    description="Stores the jobs in one transaction, and responds at once with a result for each, in their order. "
    "Each job is decided as `POST /v1/jobs` would decide it if the jobs came one after the other: one that is refused "
    "leaves the others as they are. Each new job counts as one request of the quota.",
    response_model=JobBatchView,
    responses={
        200: openapi.success("The result of each job.", headers=("Idempotency-Replayed",)),
        **_PROBLEMS,
    },
    openapi_extra={**openapi.body(CreateJobBatch), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def create_jobs(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Creates the jobs of a batch and responds at once; providers are called later."""
    key = idempotency_key(request)
    async with deps.bodies.read(request) as raw:
        items = await deps.parse(job_batches.parse, raw)
        readable = {position: item for position, item in enumerate(items) if not isinstance(item, Problem)}
        created = await submit_batch(request, deps.jobs, deps.tenants, principal, readable, key=key)
    outcomes = [
        item if isinstance(item, Problem) else _outcome(created[position]) for position, item in enumerate(items)
    ]
    audit.note_results(request.scope, [_audited(outcome) for outcome in outcomes])
    render = deps.renderer(request, principal)
    view = JobBatchView(results=[_result(outcome, request, render) for outcome in outcomes])
    return json_response(view, headers=_REPLAYED if all(result.replayed for result in view.results) else None)


def _outcome(result: job_service_pb2.CreateJobsResult) -> _Outcome:
    if result.WhichOneof("outcome") == "job":
        return result
    refusal = result.refusal
    return from_service_error(
        ServiceError(
            status=_STATUS_CODES.get(refusal.status_code, grpc.StatusCode.UNKNOWN),
            reason=Reason(refusal.reason),
            message=refusal.message,
            retry_after_seconds=refusal.retry_after_seconds if refusal.HasField("retry_after_seconds") else None,
            field_violations=tuple(
                FieldViolation(field=violation.field, description=violation.description)
                for violation in refusal.field_violations
            ),
            metadata=dict(refusal.metadata),
        )
    )


def _audited(outcome: _Outcome) -> tuple[str | None, str]:
    if isinstance(outcome, Problem):
        return None, outcome.reason
    return outcome.job.id, REPLAYED if outcome.replayed else DONE


def _result(outcome: _Outcome, request: Request, render: Renderer) -> BatchJobResult:
    if not isinstance(outcome, Problem):
        return BatchJobResult(
            job=render.job(outcome.job), problem=None, replayed=outcome.replayed, retry_after_seconds=None
        )
    problem = view_of(outcome, instance=instance_of(request.scope), request_id=request_id_of(request.scope))
    return BatchJobResult(job=None, problem=problem, replayed=False, retry_after_seconds=outcome.retry_after_seconds)
