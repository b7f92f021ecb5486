"""`/v1/jobs/{id}`: cancel, retry and delete a job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from calotype.job.v1 import job_service_pb2
from fastapi import APIRouter, Depends, Request, Response

from gateway.api_docs import openapi
from gateway.auth.keyring import Principal
from gateway.dependencies import Dependencies, DependenciesOf, JobId, PrincipalOf, require_job_access
from gateway.job_service import quotas
from gateway.problems.problem import Problem
from gateway.problems.reasons import entry
from gateway.requests import strict_json, to_protobuf, validation
from gateway.requests.headers import idempotency_key
from gateway.routes.jobs import job_response
from gateway.schemas.jobs import JobView
from gateway.schemas.requests import RetryJob

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_CONFLICT = 409


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    description="Ends a job that is not final. Canceling a canceled job again has the same response.",
    response_model=JobView,
    responses={
        200: openapi.success(
            "The canceled job; `provider_cancel` says what happens to provider calls in progress.",
            headers=("ETag", "Idempotency-Replayed"),
        ),
        **openapi.problems(404, 409, 422),
    },
    openapi_extra={"parameters": [openapi.IDEMPOTENCY_KEY], "security": openapi.TOKEN_HOLDERS},
)
async def cancel_job(
    job_id: JobId,
    request: Request,
    deps: DependenciesOf,
    principal: Annotated[Principal, Depends(require_job_access("cancel"))],
) -> Response:
    """Cancels an unfinished job; canceling a canceled job again changes nothing and succeeds."""
    key = idempotency_key(request)
    async with _adding_job_to_conflicts(deps, request, principal, job_id):
        response = await deps.jobs.cancel(principal.tenant, job_id, key=key)
    headers = {"Idempotency-Replayed": "true"} if response.replayed else {}
    return job_response(response.job, request, deps, principal, headers=headers)


@router.post(
    "/{job_id}/retry",
    operation_id="retryJob",
    summary="Retry a failed job",
    description="Returns the job to the upload if all its images are made, else to the queue. Images that are paid for "
    "are not bought again, unless `on_ambiguous: retry` allows it for calls whose outcome is unknown.",
    status_code=202,
    response_model=JobView,
    responses={
        202: openapi.success(
            "The job, which is no longer failed.",
            headers=("ETag", "Location", "Retry-After", "Idempotency-Replayed"),
        ),
        **openapi.problems(400, 402, 404, 409, 413, 415, 422),
    },
    openapi_extra={
        **openapi.body(RetryJob, required=False),
        "parameters": [openapi.IDEMPOTENCY_KEY],
        "security": openapi.TOKEN_HOLDERS,
    },
)
async def retry_job(
    job_id: JobId,
    request: Request,
    deps: DependenciesOf,
    principal: Annotated[Principal, Depends(require_job_access("retry"))],
) -> Response:
    """Retries a failed job: from the upload if all its images are made, else from the queue."""
    key = idempotency_key(request)
    async with deps.bodies.read(request, may_be_empty=True) as raw:
        body = await deps.parse(_parse, raw)
    retry_request = job_service_pb2.RetryJobRequest(
        tenant=principal.tenant,
        job_id=job_id,
        idempotency_key=key,
        on_ambiguous=to_protobuf.on_ambiguous(body.on_ambiguous),
        expected_sequence=body.expected_sequence,
        quota=quotas.quota_of(principal),
    )
    await deps.tenants.ensure(principal)
    async with _adding_job_to_conflicts(deps, request, principal, job_id):
        response = await deps.jobs.retry(retry_request)
    if response.HasField("rate"):
        quotas.note_rate(request.scope, response.rate)
    headers = {"Idempotency-Replayed": "true"} if response.replayed else {}
    return job_response(response.job, request, deps, principal, status=202, headers=headers, located=True)


def _parse(raw: bytes) -> RetryJob:
    return validation.check(RetryJob, strict_json.parse(raw)) if raw else RetryJob()


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Delete a final job",
    description="Deletes a final job with its images, input images and personal data; the ledger of provider calls and "
    "costs stays.",
    status_code=204,
    responses={
        204: openapi.success("The job is deleted; its images are deleted shortly after."),
        **openapi.problems(404, 409),
    },
)
async def delete_job(job_id: JobId, request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Deletes a final job's images, inputs and personal data; the record of its provider calls stays."""
    async with _adding_job_to_conflicts(deps, request, principal, job_id):
        await deps.jobs.delete(principal.tenant, job_id)
    return Response(status_code=204)


@asynccontextmanager
async def _adding_job_to_conflicts(
    deps: Dependencies, request: Request, principal: Principal, job_id: str
) -> AsyncIterator[None]:
    """Adds the current job to an error response with status 409."""
    try:
        yield
    except Problem as problem:
        quotas.note_refusal(request.scope, problem)
        if entry(problem.reason).status == _CONFLICT:
            problem.job = deps.renderer(request, principal).job(await deps.jobs.get(principal.tenant, job_id))
        raise
