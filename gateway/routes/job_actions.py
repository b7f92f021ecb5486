"""What users decide about a job: cancel, retry, delete."""

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
    response_model=JobView,
    responses={
        200: openapi.success("The canceled job; `provider_cancel` tells what becomes of open calls."),
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
    """End a job that is not final; asking again of a canceled one is fine."""
    key = idempotency_key(request)
    async with _telling_the_job(deps, request, principal, job_id):
        done = await deps.jobs.cancel(principal.tenant, job_id, key=key)
    headers = {"Idempotency-Replayed": "true"} if done.replayed else {}
    return job_response(done.job, request, deps, principal, headers=headers)


@router.post(
    "/{job_id}/retry",
    operation_id="retryJob",
    summary="Try a failed job again",
    status_code=202,
    response_model=JobView,
    responses={
        202: openapi.success("The job, put back."),
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
    """Put a failed job back: to the upload when all its pictures are made, else to the queue."""
    key = idempotency_key(request)
    async with deps.bodies.read(request, may_be_empty=True) as raw:
        wish = await deps.digest(_wish, raw)
    asked = job_service_pb2.RetryJobRequest(
        tenant=principal.tenant,
        job_id=job_id,
        idempotency_key=key,
        on_ambiguous=to_protobuf.on_ambiguous(wish.on_ambiguous),
        expected_sequence=wish.expected_sequence,
        quota=quotas.quota_of(principal),
    )
    await deps.tenants.ensure(principal)
    async with _telling_the_job(deps, request, principal, job_id):
        done = await deps.jobs.retry(asked)
    if done.HasField("rate"):
        quotas.note(request.scope, done.rate)
    headers = {"Idempotency-Replayed": "true"} if done.replayed else {}
    return job_response(done.job, request, deps, principal, status=202, headers=headers, located=True)


def _wish(raw: bytes) -> RetryJob:
    return validation.check(RetryJob, strict_json.parse(raw)) if raw else RetryJob()


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Delete a final job",
    status_code=204,
    responses={204: {"description": "Pictures, inputs and personal data go."}, **openapi.problems(404, 409)},
)
async def delete_job(job_id: JobId, request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Let go of a final job's pictures, inputs and personal data; the ledger stays."""
    async with _telling_the_job(deps, request, principal, job_id):
        await deps.jobs.delete(principal.tenant, job_id)
    return Response(status_code=204)


@asynccontextmanager
async def _telling_the_job(
    deps: Dependencies, request: Request, principal: Principal, job_id: str
) -> AsyncIterator[None]:
    """Adds to a refusal for the job's state how the job stands."""
    try:
        yield
    except Problem as problem:
        quotas.note_refusal(request.scope, problem)
        if entry(problem.reason).status == _CONFLICT:
            problem.job = deps.renderer(request, principal).job(await deps.jobs.get(principal.tenant, job_id))
        raise
