"""`/v1/jobs/{id}/events`: follows a job as server-sent events."""

from functools import partial
from typing import Annotated

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from fastapi import APIRouter, Depends, Request, Response

from gateway.api_docs import openapi
from gateway.auth.keyring import Principal
from gateway.dependencies import DependenciesOf, JobId, require_job_access
from gateway.problems.problem import Problem, Violation, invalid
from gateway.requests.headers import parse_sequence
from gateway.schemas.jobs import JobView
from gateway.streams.follow import follow, is_final
from gateway.streams.sse import EventStream, events
from gateway.views import locales

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
WatcherOf = Annotated[Principal, Depends(require_job_access("read", token_in_address=True))]


@router.get(
    "/{job_id}/events",
    operation_id="watchJob",
    summary="Follow a job",
    description="Server-sent events: the job as it is now, then every change once and in order. With `Last-Event-ID` "
    "or `after`, exactly the later changes. The stream ends after the final state; a client that comes again gets 204.",
    responses={
        200: {
            "description": "Events `job` (JobView; the id is its `sequence`) and `progress` (ProgressView, without id, "
            "at most two a second, some may be lost), and a comment every 15 s.",
            "content": openapi.EVENTS,
        },
        204: {"description": "The job is final and the client has its last change."},
        **openapi.problems(404, 422),
    },
    response_class=Response,
    openapi_extra={"parameters": [openapi.LAST_EVENT_ID, openapi.AFTER], "security": openapi.WATCHERS},
)
async def watch_job(job_id: JobId, request: Request, deps: DependenciesOf, principal: WatcherOf) -> Response:
    """Sends the current state of the job, then every change; with `Last-Event-ID`, only the changes after it."""
    after = _after(request)
    seen = await deps.jobs.get(principal.tenant, job_id)
    if after is not None and is_final(seen) and after >= seen.sequence:
        return Response(status_code=204)
    if deps.streams.full or deps.draining.is_set():
        raise Problem(
            reason=Reason.SERVICE_UNAVAILABLE,
            detail="No further stream can be opened right now. Try again, or poll GET /v1/jobs/{id}.",
            retry_after_seconds=2,
        )

    def render(job: job_pb2.Job) -> JobView:
        return deps.renderer(request, principal).job(job)

    locales.locale_of(request)  # Stores the language before the response headers are sent.
    changes = follow(deps.jobs, seen, after=after, timeouts=deps.timeouts)
    bar = deps.bars.follow(job_id)
    bar.note(seen)
    seconds_left = partial(deps.authenticator.seconds_left, principal)
    chunks = events(
        changes,
        render=render,
        bar=bar,
        timeouts=deps.timeouts,
        draining=deps.draining,
        seconds_left=seconds_left,
    )
    return EventStream(chunks, streams=deps.streams, timeouts=deps.timeouts)


def _after(request: Request) -> int | None:
    """Returns the last sequence that the client has; a reconnecting browser's header is newer than its URL."""
    query = request.query_params.get("after")
    after = None if query is None else parse_sequence(query)
    if query is not None and after is None:
        raise invalid([Violation(field="after", message="Must be the `sequence` of a job, a whole number.")])
    header = request.headers.get("last-event-id")
    return after if header is None else parse_sequence(header.strip())
