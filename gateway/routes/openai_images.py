"""`/v1/images`: OpenAI's calls, each over a job that outlives them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from calotype.job.v1 import job_pb2
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.auth.keyring import Principal
from gateway.dependencies import Dependencies, DependenciesOf, SubmitterOf
from gateway.job_service.submit import submit
from gateway.openai_images import answers, errors, requests, streaming
from gateway.openai_images.requests import Asked
from gateway.openai_images.schemas import ImagesView
from gateway.problems.problem import Problem
from gateway.requests.headers import IDEMPOTENCY_KEY, idempotency_key
from gateway.streams.follow import follow, is_final
from gateway.streams.sse import EventStream, wait_for_disconnect
from gateway.streams.wait import wait_until

router = APIRouter(prefix="/v1/images", tags=["openai"])
#: Within this time after it was last asked for, a job is joined by a client that repeats itself.
JOIN_SECONDS = 900
RETRIES = "x-stainless-retry-count"
_GONE = 499


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One of the two calls, as it is being served."""

    request: Request
    deps: Dependencies
    principal: Principal
    kind: answers.Completed
    until: float


@router.post(
    "/generations",
    operation_id="generateImages",
    summary="Make pictures, in OpenAI's shape",
    response_model=ImagesView,
    responses=openapi.openai_answers(),
    openapi_extra={**openapi.openai_body(form=False), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def generate_images(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Submit a job and hold the request until it is final; the job goes on whatever becomes of the request."""
    return await _serve(
        _call(request, deps, principal, "image_generation.completed"),
        partial(requests.generation, path=request.url.path),
        "application/json",
    )


@router.post(
    "/edits",
    operation_id="editImages",
    summary="Make pictures from pictures, in OpenAI's shape",
    response_model=ImagesView,
    responses=openapi.openai_answers(),
    openapi_extra={**openapi.openai_body(form=True), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def edit_images(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """The same with pictures to start from, as a multipart form: `image`, or several `image[]`, and a `mask`."""
    content_type = request.headers.get("content-type", "")
    return await _serve(
        _call(request, deps, principal, "image_edit.completed"),
        partial(requests.edit, path=request.url.path, content_type=content_type),
        "multipart/form-data",
    )


def _call(request: Request, deps: Dependencies, principal: Principal, kind: answers.Completed) -> _Call:
    return _Call(
        request=request, deps=deps, principal=principal, kind=kind, until=time.monotonic() + deps.timeouts.held
    )


async def _serve(call: _Call, read: Callable[[bytes], Asked], media_type: str) -> Response:
    job, as_base64, as_stream = await _submit(call, read, media_type)
    audit.note_object(call.request.scope, job.id)
    try:
        # A job that ended already, when a client repeats itself, is told with its status, in a stream too.
        if as_stream and not is_final(job):
            return _stream(call, job)
        final = await _hold(call, job)
        if final is None:
            return Response(status_code=_GONE)
        if (problem := errors.problem_of_job(final)) is not None:
            raise problem
        return _stream(call, final) if as_stream else await _told(call, final, as_base64=as_base64)
    except Problem as problem:
        problem.headers = {errors.JOB_HEADER: job.id, **problem.headers}
        raise


async def _submit(call: _Call, read: Callable[[bytes], Asked], media_type: str) -> tuple[job_pb2.Job, bool, bool]:
    """Apart from its caller, so that pictures do not lie in memory while a client waits for its job."""
    request, deps = call.request, call.deps
    async with deps.bodies.read(request, media_type=media_type) as raw:
        asked = await deps.digest(read, raw)
        if asked.as_stream and (deps.streams.full or deps.draining.is_set()):
            detail = "No further stream can be opened here now; ask again."
            raise Problem(reason="SERVICE_UNAVAILABLE", detail=detail, retry_after_seconds=2)
        created = await submit(
            request,
            deps.jobs,
            deps.tenants,
            call.principal,
            asked.job,
            key=idempotency_key(request),
            scope=request.url.path,
            fingerprint=asked.fingerprint,
            join_within_seconds=_join_within(request),
        )
        return created.job, asked.as_base64, asked.as_stream


def _join_within(request: Request) -> int | None:
    """How far back a request without a key of its client's may join a job."""
    if IDEMPOTENCY_KEY in request.headers:
        return None
    retries = request.headers.get(RETRIES, "0")
    return JOIN_SECONDS if retries.isascii() and retries.isdigit() and int(retries[:9]) > 0 else 0


async def _hold(call: _Call, job: job_pb2.Job) -> job_pb2.Job | None:
    """The job once it is final; None when the client has gone. Raises `Problem` when it cannot be awaited here."""
    deps, seconds = call.deps, max(0.0, call.until - time.monotonic())
    waiting = asyncio.create_task(
        wait_until(is_final, deps.jobs, job, seconds=seconds, timeouts=deps.timeouts, draining=deps.draining)
    )
    leaving = asyncio.create_task(wait_for_disconnect(call.request.receive))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return None
        seen = waiting.result()
    finally:
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)
    if is_final(seen):
        return seen
    raise errors.still_running(seen) if time.monotonic() >= call.until else errors.unavailable_problem(seen)


async def _told(call: _Call, job: job_pb2.Job, *, as_base64: bool) -> Response:
    headers = {errors.JOB_HEADER: job.id}
    if not as_base64:
        written = answers.images(job).model_dump_json()
        return Response(written, headers=headers, media_type="application/json")
    async with call.deps.pictures.read(job.artifacts) as pictures:
        view = await asyncio.to_thread(answers.images, job, pictures)
        written = await asyncio.to_thread(view.model_dump_json)
        return Response(written, headers=headers, media_type="application/json")


def _stream(call: _Call, job: job_pb2.Job) -> Response:
    deps = call.deps
    chunks = streaming.events(
        job,
        follow(deps.jobs, job, after=None, timeouts=deps.timeouts),
        kind=call.kind,
        pictures=deps.pictures,
        timeouts=deps.timeouts,
        draining=deps.draining,
        seconds_left=partial(deps.authenticator.seconds_left, call.principal),
        until=call.until,
    )
    stream = EventStream(chunks, streams=deps.streams, timeouts=deps.timeouts)
    stream.headers[errors.JOB_HEADER] = job.id
    return stream
