"""`stream: true`: comments while the job runs, then one event per picture, or an error."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from calotype.job.v1 import job_pb2

from gateway.openai_images import answers, errors
from gateway.openai_images.pictures import PictureReader
from gateway.problems.problem import Problem
from gateway.streams.follow import Change, StreamTimeouts, is_final
from gateway.streams.sse import with_beats


async def events(
    job: job_pb2.Job,
    changes: AsyncGenerator[Change, None],
    *,
    kind: answers.Completed,
    pictures: PictureReader,
    timeouts: StreamTimeouts,
    draining: asyncio.Event,
    seconds_left: Callable[[], float],
    until: float,
) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream about a job; `until` is a time of the monotonic clock."""
    yield f": {job.id}\n\n".encode()
    async with aclosing(changes), aclosing(with_beats(changes, timeouts, draining, seconds_left)) as beats:
        async for change in beats:
            if isinstance(change, str):
                yield f": {change}\n\n".encode()
            elif isinstance(change, job_pb2.Job) and is_final(change):
                async for event in _end(change, kind, pictures):
                    yield event
                return
            if time.monotonic() > until:
                yield _error(errors.still_running(job))
                return
    yield _error(errors.unavailable_problem(job))


async def _end(job: job_pb2.Job, kind: answers.Completed, pictures: PictureReader) -> AsyncGenerator[bytes, None]:
    if (problem := errors.problem_of_job(job)) is not None:
        yield _error(problem)
        return
    # One after the other: only one of them lies in memory.
    for artifact in job.artifacts:
        try:
            async with pictures.read([artifact]) as [picture]:
                view = await asyncio.to_thread(answers.completed, job, artifact, picture, kind=kind)
                written = await asyncio.to_thread(view.model_dump_json)
        except Problem as refused:
            refused.headers = {errors.JOB_HEADER: job.id}
            yield _error(refused)
            return
        yield f"event: {kind}\ndata: {written}\n\n".encode()


def _error(problem: Problem) -> bytes:
    _, written = errors.body(problem)
    return f'event: error\ndata: {{"type":"error","error":{written.error.model_dump_json()}}}\n\n'.encode()
