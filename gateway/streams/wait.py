"""`Prefer: wait`: holds a response until a job is final or has changed."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2

from common.errors import ServiceError
from common.grpc_client import is_unavailable
from gateway.job_service.job_client import JobServiceClient
from gateway.problems.problem import Problem, from_service_error
from gateway.streams.follow import StreamTimeouts, follow, is_final

Condition = Callable[[job_pb2.Job], bool]


async def wait_until(
    condition: Condition,
    jobs: JobServiceClient,
    seen: job_pb2.Job,
    *,
    seconds: float,
    timeouts: StreamTimeouts,
    draining: asyncio.Event,
) -> job_pb2.Job:
    """Returns the job once the condition holds, or in its current state after `seconds` or when the gateway stops.

    Of a job that is not final, a change says less than the job's current state, so that is read.

    If job-service becomes unreachable meanwhile, the wait ends and `seen` is returned. Raises `Problem`.
    """
    if condition(seen):
        return seen
    watch = asyncio.create_task(_watch(condition, jobs, seen, timeouts))
    drain = asyncio.create_task(draining.wait())
    try:
        await asyncio.wait({watch, drain}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and (change := watch.result()) is not None and is_final(change):
            return change
    except ServiceError as error:
        if not is_unavailable(error):
            raise from_service_error(error) from error
    finally:
        for task in (watch, drain):
            task.cancel()
        await asyncio.gather(watch, drain, return_exceptions=True)
    try:
        return await jobs.get(seen.tenant, seen.id)
    except Problem as problem:
        if problem.reason != Reason.SERVICE_UNAVAILABLE:
            raise
        return seen


async def _watch(
    condition: Condition, jobs: JobServiceClient, seen: job_pb2.Job, timeouts: StreamTimeouts
) -> job_pb2.Job | None:
    """Returns the first change for which the condition holds, or the final one; None for a deleted job."""
    async with aclosing(follow(jobs, seen, after=seen.sequence, timeouts=timeouts)) as changes:
        async for change in changes:
            if isinstance(change, job_pb2.Job) and (condition(change) or is_final(change)):
                return change
    return None
