"""Follow a job across broken connections: whatever ends too early is opened again at the last sequence."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from calotype.job.v1 import job_pb2, job_service_pb2

from common.errors import ServiceError
from common.grpc_client import is_unavailable
from gateway.job_service.job_client import JobServiceClient

Change = job_pb2.Job | job_service_pb2.Progress
FINAL = frozenset({job_pb2.STATUS_COMPLETED, job_pb2.STATUS_FAILED, job_pb2.STATUS_CANCELED})


@dataclass(frozen=True, kw_only=True)
class StreamTimeouts:
    """Times of streams, in seconds."""

    heartbeat: float = 15.0
    #: At most one progress event in this time.
    progress: float = 0.5
    #: First pause before a stream of job-service is opened again; it grows up to fivefold while that fails.
    reopen: float = 1.0
    #: Longest wait for what becomes of a cancel at the provider.
    patience: float = 30.0
    #: Longest time that a client may take for one event.
    send: float = 30.0
    #: Longest time that a request in OpenAI's shape is held: its clients, who wait ten minutes, are to hear the answer.
    held: float = 580.0


async def follow(
    jobs: JobServiceClient, seen: job_pb2.Job, *, after: int | None, timeouts: StreamTimeouts
) -> AsyncGenerator[Change, None]:
    """Changes of a job that was just `seen`: first as it is now, or only those after a sequence.

    Ends after the final state, and at most `pace.patience` later while the provider was not heard of a cancel; also
    when the job is deleted. Raises `ServiceError`.

    An outage of job-service, however long, is waited for: a browser that is sent away, and told 503 when it comes back,
    never asks again by itself.
    """
    position, last, silent_since, failures = after, seen, None, 0
    while True:
        try:
            async with aclosing(cast("Any", jobs.watch(seen.tenant, seen.id, after=position))) as changes:
                async for change in changes:
                    silent_since, failures = None, 0
                    if isinstance(change, job_pb2.Job):
                        position, last = change.sequence, change
                        lend_request(change, seen)
                    yield change
        except ServiceError as error:
            if error.reason == "JOB_NOT_FOUND":
                return
            if not is_unavailable(error):
                raise
            failures += 1
        silent_since = silent_since or time.monotonic()
        heard_all = position is not None and position >= max(seen.sequence, last.sequence)
        if heard_all and is_final(last) and (_is_settled(last) or time.monotonic() - silent_since > timeouts.patience):
            return
        # Spread, so that thousands of streams do not fall upon a job-service that has just come back.
        await asyncio.sleep(timeouts.reopen * min(1 + failures, 5) * random.uniform(0.5, 1.0))  # noqa: S311


def lend_request(change: job_pb2.Job, seen: job_pb2.Job) -> None:
    """Changes come without the request, which never changes; every client gets jobs of one shape."""
    if not change.HasField("request") and seen.HasField("request"):
        change.request.CopyFrom(seen.request)


def is_final(job: job_pb2.Job) -> bool:
    """Whether only a user's retry can move the job."""
    return job.status in FINAL


def _is_settled(job: job_pb2.Job) -> bool:
    return is_final(job) and job.provider_cancel != job_pb2.PROVIDER_CANCEL_PENDING
