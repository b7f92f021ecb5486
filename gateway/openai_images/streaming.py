"""`stream: true`: sends comments while the job runs, then one event per image, or an error event."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from calotype.job.v1 import job_pb2

from gateway.openai_images import errors, responses
from gateway.openai_images.public_images import PublicImageReader
from gateway.problems.problem import Problem
from gateway.streams.follow import Change, StreamTimeouts, is_final
from gateway.streams.sse import with_heartbeats


async def events(
    job: job_pb2.Job,
    changes: AsyncGenerator[Change, None],
    *,
    kind: responses.Completed,
    images: PublicImageReader,
    timeouts: StreamTimeouts,
    draining: asyncio.Event,
    seconds_left: Callable[[], float],
    until: float,
) -> AsyncGenerator[bytes, None]:
    """Yields the bytes of a job's stream; at `until`, a time of the monotonic clock, it ends with an error event."""
    yield f": {job.id}\n\n".encode()
    async with aclosing(changes), aclosing(with_heartbeats(changes, timeouts, draining, seconds_left)) as updates:
        async for update in updates:
            if isinstance(update, str):
                yield f": {update}\n\n".encode()
            elif isinstance(update, job_pb2.Job) and is_final(update):
                async for event in _final_events(update, kind, images):
                    yield event
                return
            if time.monotonic() > until:
                yield _error(errors.still_running(job))
                return
    yield _error(errors.unavailable_problem(job))


async def _final_events(
    job: job_pb2.Job, kind: responses.Completed, images: PublicImageReader
) -> AsyncGenerator[bytes, None]:
    if (problem := errors.problem_of_job(job)) is not None:
        yield _error(problem)
        return
    # One after the other, so that only one image is in memory.
    for artifact in job.artifacts:
        try:
            async with images.read([artifact]) as [content]:
                view = await asyncio.to_thread(responses.completed, job, artifact, content, kind=kind)
                data = await asyncio.to_thread(view.model_dump_json)
        except Problem as problem_of_image:
            problem_of_image.headers = {errors.JOB_HEADER: job.id}
            yield _error(problem_of_image)
            return
        yield f"event: {kind}\ndata: {data}\n\n".encode()


def _error(problem: Problem) -> bytes:
    _, body = errors.body(problem)
    return f'event: error\ndata: {{"type":"error","error":{body.error.model_dump_json()}}}\n\n'.encode()
