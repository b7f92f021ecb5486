"""`/v1/jobs`: submit, list and read jobs."""

from typing import Any

from calotype.error.v1 import error_pb2
from calotype.job.v1 import job_pb2, job_service_pb2
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.auth.keyring import Principal
from gateway.dependencies import Dependencies, DependenciesOf, JobId, PrincipalOf, ReaderOf, SubmitterOf, json_response
from gateway.job_service.submit import submit
from gateway.problems.problem import Violation, invalid
from gateway.requests import strict_json, to_protobuf, validation
from gateway.requests.headers import etag, idempotency_key, matches_etag, wait_seconds
from gateway.schemas.attempts import AttemptList
from gateway.schemas.jobs import JobPage, JobView
from gateway.schemas.queries import ListJobs
from gateway.schemas.requests import CreateJob
from gateway.streams.follow import is_final
from gateway.streams.wait import wait_until
from gateway.views.attempts import attempt
from gateway.views.display import retry_after

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_HEADERS = ("ETag", "Retry-After", "Preference-Applied")
_SUBMITTED = (*_HEADERS, "Location", "Idempotency-Replayed")


@router.post(
    "",
    operation_id="createJob",
    summary="Submit a job",
    description="Stores the job and responds at once; workers call the provider later. With `Prefer: wait=N` the "
    "response is held until the job is final.",
    status_code=202,
    response_model=JobView,
    responses={
        200: openapi.success("The job is final.", model=JobView, headers=_SUBMITTED),
        202: openapi.success("The job is accepted; `Location` is its address.", headers=_SUBMITTED),
        **openapi.problems(400, 402, 410, 413, 415, 422),
    },
    openapi_extra={
        **openapi.body(CreateJob),
        "parameters": [openapi.IDEMPOTENCY_KEY, openapi.PREFER],
    },
)
async def create_job(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Creates a job and responds at once; providers are called later. `Prefer: wait=N` waits up to N seconds for it."""
    created = await _submit(request, deps, principal, key=idempotency_key(request))
    headers = {"Idempotency-Replayed": "true"} if created.replayed else {}
    job = created.job
    if (seconds := wait_seconds(request)) is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        job = await wait_until(
            is_final, deps.jobs, job, seconds=seconds, timeouts=deps.timeouts, draining=deps.draining
        )
    return job_response(
        job, request, deps, principal, status=200 if is_final(job) else 202, headers=headers, located=True
    )


async def _submit(
    request: Request, deps: Dependencies, principal: Principal, *, key: str
) -> job_service_pb2.CreateJobResponse:
    """Runs apart from its caller, so that input images are freed while the client waits for its job."""
    async with deps.bodies.read(request) as raw:
        job_request, fingerprint = await deps.parse(_parse, raw)
        return await submit(request, deps.jobs, deps.tenants, principal, job_request, key=key, fingerprint=fingerprint)


def _parse(raw: bytes) -> tuple[job_pb2.JobRequest, str]:
    value = strict_json.parse(raw)
    return to_protobuf.job_request(validation.check(CreateJob, value)), strict_json.fingerprint(value)


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs, newest first",
    description="Returns a page of the tenant's jobs that match every filter. Jobs that arrive meanwhile neither "
    "repeat nor hide entries of later pages. One call examines 1,000 jobs at most: a page may be shorter than "
    "`page_size`, even empty, before the last one; continue while there is a `next_page_token`.",
    response_model=JobPage,
    responses={200: openapi.success("A page of jobs."), **openapi.problems(422)},
    openapi_extra={"parameters": openapi.filters()},
)
async def list_jobs(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns a page of the tenant's jobs; new jobs do not shift the pages that follow."""
    page = await deps.jobs.page(_filters(_query(request), principal.tenant))
    render = deps.renderer(request, principal)
    return json_response(
        JobPage(jobs=[render.job(job) for job in page.jobs], next_page_token=page.next_page_token or None)
    )


def _query(request: Request) -> ListJobs:
    values: dict[str, Any] = {"metadata": {}, "status": []}
    violations: list[Violation] = []
    for name, value in request.query_params.multi_items():
        if name == "status":
            values["status"].append(value)
            continue
        is_metadata = name.startswith("metadata.")
        target, key = (values["metadata"], name.removeprefix("metadata.")) if is_metadata else (values, name)
        if key in target:
            message = "Send each parameter once; only `status` may repeat. Metadata is written metadata.KEY=VALUE."
            violations.append(Violation(field=name, message=message))
        target.setdefault(key, value)
    try:
        query = ListJobs.model_validate(values)
    except ValidationError as error:
        violations += validation.violations(error)
    if violations:
        raise invalid(violations)
    return query


def _filters(query: ListJobs, tenant: str) -> job_service_pb2.ListJobsRequest:
    request = job_service_pb2.ListJobsRequest(
        tenant=tenant,
        statuses=[job_pb2.Status.Value(f"STATUS_{status.upper()}") for status in query.status],
        provider=query.provider,
        failure_stage=error_pb2.Stage.Value(f"STAGE_{(query.failure_stage or 'unspecified').upper()}"),
        code=error_pb2.Code.Value(f"CODE_{query.code or 'UNSPECIFIED'}"),
        end_user=query.end_user,
        metadata=query.metadata,
        page_size=query.page_size,
        page_token=query.page_token,
    )
    for name in ("created_after", "created_before"):
        if (time := getattr(query, name)) is not None:
            getattr(request, name).FromDatetime(time)
    return request


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Get a job",
    description="Returns the job as it is now. With `Prefer: wait=N` the response is held until the job is final, or, "
    "with `If-None-Match` too, until it has changed.",
    response_model=JobView,
    responses={
        200: openapi.success("The job as it is now.", headers=_HEADERS),
        304: openapi.success("The job has not changed since the ETag of `If-None-Match`.", headers=_HEADERS),
        **openapi.problems(404),
    },
    openapi_extra={"parameters": [openapi.PREFER, openapi.IF_NONE_MATCH], "security": openapi.TOKEN_HOLDERS},
)
async def get_job(job_id: JobId, request: Request, deps: DependenciesOf, principal: ReaderOf) -> Response:
    """Returns the job; `Prefer: wait=N` waits until it is final, or with `If-None-Match` until it has changed."""
    job = await deps.jobs.get(principal.tenant, job_id)
    is_unchanged, headers = matches_etag(request, job.sequence), {}
    if (seconds := wait_seconds(request)) is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        is_conditional, sequence = "if-none-match" in request.headers, job.sequence
        if is_unchanged or not is_conditional:
            job = await wait_until(
                (lambda current: current.sequence != sequence) if is_conditional else is_final,
                deps.jobs,
                job,
                seconds=seconds,
                timeouts=deps.timeouts,
                draining=deps.draining,
            )
            is_unchanged = matches_etag(request, job.sequence)
    return job_response(job, request, deps, principal, status=304 if is_unchanged else 200, headers=headers)


def job_response(
    job: job_pb2.Job,
    request: Request,
    deps: Dependencies,
    principal: Principal,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    located: bool = False,
) -> Response:
    """Returns the response for a job: its view, ETag and Retry-After, and Location if `located`."""
    audit.note_object(request.scope, job.id)
    view = deps.renderer(request, principal).job(job)
    all_headers = {**(headers or {}), "ETag": etag(job.sequence), **retry_after(view.display)}
    if located:
        all_headers["Location"] = view.links.self
    if status == 304:
        return Response(status_code=304, headers=all_headers)
    return json_response(view, status=status, headers=all_headers)


@router.get(
    "/{job_id}/attempts",
    operation_id="listAttempts",
    summary="List the attempts of a job",
    description="Returns every claim of the job by a worker, with its provider calls and their costs.",
    response_model=AttemptList,
    responses={200: openapi.success("Every attempt, oldest first."), **openapi.problems(404)},
)
async def list_attempts(job_id: JobId, request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Returns every attempt of the job with its provider calls and their cost."""
    attempts, render = await deps.jobs.attempts(principal.tenant, job_id), deps.renderer(request, principal)
    return json_response(AttemptList(attempts=[attempt(message, render) for message in attempts]))
