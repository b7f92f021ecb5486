"""`/v1/jobs`: submit and look."""

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
from gateway.requests.headers import etag, idempotency_key, knows, wait_seconds
from gateway.schemas.attempts import AttemptList
from gateway.schemas.jobs import JobPage, JobView
from gateway.schemas.queries import ListJobs
from gateway.schemas.requests import CreateJob
from gateway.streams.follow import is_final
from gateway.streams.wait import wait_until
from gateway.views.attempts import attempt
from gateway.views.display import retry_after

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    operation_id="createJob",
    summary="Submit a job",
    status_code=202,
    response_model=JobView,
    responses={
        200: openapi.success("The job is final already.", model=JobView),
        202: openapi.success("The job is accepted; Location names it."),
        **openapi.problems(400, 402, 410, 413, 415, 422),
    },
    openapi_extra={
        **openapi.body(CreateJob),
        "parameters": [openapi.IDEMPOTENCY_KEY, openapi.PREFER],
    },
)
async def create_job(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Write a job down and answer at once; no provider is called meanwhile."""
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
    """Apart from its caller, so that pictures do not lie in memory while a client waits for its job."""
    async with deps.bodies.read(request) as raw:
        wanted, fingerprint = await deps.digest(_accept, raw)
        return await submit(request, deps.jobs, deps.tenants, principal, wanted, key=key, fingerprint=fingerprint)


def _accept(raw: bytes) -> tuple[job_pb2.JobRequest, str]:
    sent = strict_json.parse(raw)
    return to_protobuf.job_request(validation.check(CreateJob, sent)), strict_json.fingerprint(sent)


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs, newest first",
    response_model=JobPage,
    responses={200: openapi.success("A page."), **openapi.problems(422)},
    openapi_extra={"parameters": openapi.filters()},
)
async def list_jobs(request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """A page of the tenant's jobs; pages stay right while jobs arrive."""
    page = await deps.jobs.page(_filters(_query(request), principal.tenant))
    render = deps.renderer(request, principal)
    return json_response(
        JobPage(jobs=[render.job(one) for one in page.jobs], next_page_token=page.next_page_token or None)
    )


def _query(request: Request) -> ListJobs:
    given: dict[str, Any] = {"metadata": {}, "status": []}
    wrong: list[Violation] = []
    for name, value in request.query_params.multi_items():
        if name == "status":
            given["status"].append(value)
            continue
        where, key = (
            (given["metadata"], name.removeprefix("metadata.")) if name.startswith("metadata.") else (given, name)
        )
        if key in where:
            wrong.append(Violation(field=name, message="Write metadata.KEY=VALUE, and every parameter once."))
        where.setdefault(key, value)
    try:
        query = ListJobs.model_validate(given)
    except ValidationError as error:
        wrong += validation.violations(error)
    if wrong:
        raise invalid(wrong)
    return query


def _filters(query: ListJobs, tenant: str) -> job_service_pb2.ListJobsRequest:
    asked = job_service_pb2.ListJobsRequest(
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
        if (moment := getattr(query, name)) is not None:
            getattr(asked, name).FromDatetime(moment)
    return asked


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Look at a job",
    response_model=JobView,
    responses={
        200: openapi.success("The job as it is now."),
        304: {"description": "The job is as the client knows it."},
        **openapi.problems(404),
    },
    openapi_extra={"parameters": [openapi.PREFER, openapi.IF_NONE_MATCH], "security": openapi.TOKEN_HOLDERS},
)
async def get_job(job_id: JobId, request: Request, deps: DependenciesOf, principal: ReaderOf) -> Response:
    """The job as it is now; with `Prefer: wait`, once it is final, or with `If-None-Match`, once it has changed."""
    job = await deps.jobs.get(principal.tenant, job_id)
    known, headers = knows(request, job.sequence), {}
    if (seconds := wait_seconds(request)) is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        conditional, before = "if-none-match" in request.headers, job.sequence
        if known or not conditional:
            job = await wait_until(
                (lambda now: now.sequence != before) if conditional else is_final,
                deps.jobs,
                job,
                seconds=seconds,
                timeouts=deps.timeouts,
                draining=deps.draining,
            )
            known = knows(request, job.sequence)
    return job_response(job, request, deps, principal, status=304 if known else 200, headers=headers)


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
    """A job with the headers that go with it."""
    audit.note_object(request.scope, job.id)
    view = deps.renderer(request, principal).job(job)
    every = {**(headers or {}), "ETag": etag(job.sequence), **retry_after(view.display)}
    if located:
        every["Location"] = view.links.self
    if status == 304:
        return Response(status_code=304, headers=every)
    return json_response(view, status=status, headers=every)


@router.get(
    "/{job_id}/attempts",
    operation_id="listAttempts",
    summary="See what was tried and what it bought",
    response_model=AttemptList,
    responses={200: openapi.success("Every attempt, oldest first."), **openapi.problems(404)},
)
async def list_attempts(job_id: JobId, request: Request, deps: DependenciesOf, principal: PrincipalOf) -> Response:
    """Every claim of the job with its provider calls."""
    found, render = await deps.jobs.attempts(principal.tenant, job_id), deps.renderer(request, principal)
    return json_response(AttemptList(attempts=[attempt(one, render) for one in found]))
