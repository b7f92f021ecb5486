"""`/v1/images`: OpenAI's image calls; each creates a job, which continues when the connection ends."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2
from fastapi import APIRouter, Request, Response

from gateway.api_docs import openapi
from gateway.auth import audit
from gateway.auth.keyring import Principal
from gateway.dependencies import Dependencies, DependenciesOf, SubmitterOf
from gateway.job_service.submit import submit
from gateway.openai_images import catalogue_names, errors, requests, responses, streaming
from gateway.openai_images.requests import ImageRequest
from gateway.openai_images.schemas import ImagesView
from gateway.problems.problem import Problem
from gateway.requests.headers import IDEMPOTENCY_KEY, idempotency_key
from gateway.streams.follow import follow, is_final
from gateway.streams.sse import EventStream, wait_for_disconnect
from gateway.streams.wait import wait_until

router = APIRouter(prefix="/v1/images", tags=["openai"])
#: Seconds after the last request for a job in which a repeated request without a key joins it.
JOIN_SECONDS = 900
#: Header in which OpenAI's clients count their retries.
RETRIES = "x-stainless-retry-count"
_JSON = "application/json"
_CLIENT_CLOSED_REQUEST = 499


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A request that is being served."""

    request: Request
    """The HTTP request."""
    deps: Dependencies
    """The objects that all requests share."""
    principal: Principal
    """The authenticated sender."""
    kind: responses.Completed
    """Name of its stream events."""
    until: float
    """When it is held no longer, on the monotonic clock."""


@router.post(
    "/generations",
    operation_id="generateImages",
    summary="Make images, as OpenAI's clients call it",
    description="Submits a job and holds the request until it is final, for up to 580 s. The job goes on if the client "
    "disconnects.",
    response_model=ImagesView,
    responses=openapi.openai_responses(),
    openapi_extra={**openapi.openai_body(form=False), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def generate_images(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Creates a job and holds the request until the job is final; the job continues if the connection ends."""
    return await _serve(
        _call(request, deps, principal, "image_generation.completed"),
        partial(requests.generation, path=request.url.path),
        _JSON,
    )


@router.post(
    "/edits",
    operation_id="editImages",
    summary="Make images from images, as OpenAI's clients call it",
    description="Same as `generateImages`, with images to start from: their bytes in a multipart form, or their "
    "addresses in a JSON body.",
    response_model=ImagesView,
    responses=openapi.openai_responses(),
    openapi_extra={**openapi.openai_body(form=True), "parameters": [openapi.IDEMPOTENCY_KEY]},
)
async def edit_images(request: Request, deps: DependenciesOf, principal: SubmitterOf) -> Response:
    """Generates images from input images: files of a multipart form, or `images` of a JSON body, and a `mask`."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() == _JSON:
        call = _call(request, deps, principal, "image_edit.completed")
        return await _serve(call, partial(requests.json_edit, path=request.url.path), _JSON)
    return await _serve(
        _call(request, deps, principal, "image_edit.completed"),
        partial(requests.edit, path=request.url.path, content_type=content_type),
        "multipart/form-data",
    )


def _call(request: Request, deps: Dependencies, principal: Principal, kind: responses.Completed) -> _Call:
    return _Call(
        request=request,
        deps=deps,
        principal=principal,
        kind=kind,
        until=time.monotonic() + deps.timeouts.openai_request,
    )


async def _serve(call: _Call, read: Callable[[bytes], ImageRequest], media_type: str) -> Response:
    job, as_base64, as_stream = await _submit(call, read, media_type)
    audit.note_object(call.request.scope, job.id)
    try:
        # A final job that failed is reported by an HTTP status, even if the client requested a stream.
        if as_stream and not is_final(job):
            return _stream(call, job)
        final = await _hold(call, job)
        if final is None:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        if (problem := errors.problem_of_job(final)) is not None:
            raise problem
        return _stream(call, final) if as_stream else await _images_response(call, final, as_base64=as_base64)
    except Problem as problem:
        problem.headers = {errors.JOB_HEADER: job.id, **problem.headers}
        raise


async def _submit(
    call: _Call, read: Callable[[bytes], ImageRequest], media_type: str
) -> tuple[job_pb2.Job, bool, bool]:
    """Runs apart from its caller, so that input images are freed while the client waits for its job."""
    request, deps = call.request, call.deps
    async with deps.bodies.read(request, media_type=media_type) as raw:
        image_request = await deps.parse(read, raw)
        if image_request.as_stream and (deps.streams.full or deps.draining.is_set()):
            detail = "No further stream can be opened right now. Try again, or leave `stream` out."
            raise Problem(reason=Reason.SERVICE_UNAVAILABLE, detail=detail, retry_after_seconds=2)
        if catalogue_names.needs_catalogue(image_request.job):
            catalogue_names.resolve(image_request.job, await deps.jobs.providers(call.principal.tenant))
        created = await submit(
            request,
            deps.jobs,
            deps.tenants,
            call.principal,
            image_request.job,
            key=idempotency_key(request),
            scope=request.url.path,
            fingerprint=image_request.fingerprint,
            join_within_seconds=_join_within(request),
        )
        return created.job, image_request.as_base64, image_request.as_stream


def _join_within(request: Request) -> int | None:
    """Returns how many seconds back a request may join a job; None if the client sent an Idempotency-Key."""
    if IDEMPOTENCY_KEY in request.headers:
        return None
    retries = request.headers.get(RETRIES, "0")
    return JOIN_SECONDS if retries.isascii() and retries.isdigit() and int(retries[:9]) > 0 else 0


async def _hold(call: _Call, job: job_pb2.Job) -> job_pb2.Job | None:
    """Returns the final job; None if the client disconnects. Raises `Problem` if the job takes too long."""
    deps, seconds = call.deps, max(0.0, call.until - time.monotonic())
    waiting = asyncio.create_task(
        wait_until(is_final, deps.jobs, job, seconds=seconds, timeouts=deps.timeouts, draining=deps.draining)
    )
    disconnect = asyncio.create_task(wait_for_disconnect(call.request.receive))
    try:
        await asyncio.wait({waiting, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return None
        latest = waiting.result()
    finally:
        for task in (waiting, disconnect):
            task.cancel()
        await asyncio.gather(waiting, disconnect, return_exceptions=True)
    if is_final(latest):
        return latest
    raise errors.still_running(latest) if time.monotonic() >= call.until else errors.unavailable_problem(latest)


async def _images_response(call: _Call, job: job_pb2.Job, *, as_base64: bool) -> Response:
    headers = {errors.JOB_HEADER: job.id}
    if not as_base64:
        content = responses.images(job).model_dump_json()
        return Response(content, headers=headers, media_type="application/json")
    async with call.deps.images.read(job.artifacts) as contents:
        view = await asyncio.to_thread(responses.images, job, contents)
        content = await asyncio.to_thread(view.model_dump_json)
        return Response(content, headers=headers, media_type="application/json")


def _stream(call: _Call, job: job_pb2.Job) -> Response:
    deps = call.deps
    chunks = streaming.events(
        job,
        follow(deps.jobs, job, after=None, timeouts=deps.timeouts),
        kind=call.kind,
        images=deps.images,
        timeouts=deps.timeouts,
        draining=deps.draining,
        seconds_left=partial(deps.authenticator.seconds_left, call.principal),
        until=call.until,
    )
    stream = EventStream(chunks, streams=deps.streams, timeouts=deps.timeouts)
    stream.headers[errors.JOB_HEADER] = job.id
    return stream
