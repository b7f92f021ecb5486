"""Follows a job across broken connections: a stream that ends early is reopened after the last sequence."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from calotype.error_reasons import Reason
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.job_status import FINAL_STATUSES

from common.errors import ServiceError
from common.grpc_client import is_unavailable
from gateway.job_service.job_client import JobServiceClient

Change = job_pb2.Job | job_service_pb2.Progress
FINAL = frozenset(job_pb2.Status.Value(f"STATUS_{name.upper()}") for name in FINAL_STATUSES)


@dataclass(frozen=True, kw_only=True)
class StreamTimeouts:
    """Time limits and intervals of streams, in seconds."""

    #: Interval of heartbeats while nothing else is sent.
    heartbeat: float = 15.0
    #: Shortest interval between two progress events.
    progress: float = 0.5
    #: First pause before a stream of job-service is reopened; it grows up to fivefold while that fails.
    reopen: float = 1.0
    #: Longest wait for the provider's response to a cancellation, after the job is final.
    cancel_outcome: float = 30.0
    #: Longest time that a client may take to receive one event.
    send: float = 30.0
    #: Longest time to hold a request to the OpenAI paths; its clients give up after ten minutes and should get a
    #: response before.
    openai_request: float = 580.0


async def follow(
    jobs: JobServiceClient, seen: job_pb2.Job, *, after: int | None, timeouts: StreamTimeouts
) -> AsyncGenerator[Change, None]:
    """Yields the changes of a job that was just read as `seen`: those after a sequence, or from now on for None.

    For None the first change is the current state. Ends after the final state, or up to `timeouts.cancel_outcome` later
    while the provider's response to a cancellation is pending; also when the job is deleted. Raises `ServiceError`.

    Waits through any outage of job-service: a browser that is disconnected and gets 503 when it reconnects never tries
    again by itself.
    """
    position, last, disconnected_since, failures = after, seen, None, 0
    while True:
        try:
            async with aclosing(cast("Any", jobs.watch(seen.tenant, seen.id, after=position))) as changes:
                async for change in changes:
                    disconnected_since, failures = None, 0
                    if isinstance(change, job_pb2.Job):
                        position, last = change.sequence, change
                        _add_request(change, seen)
                    yield change
        except ServiceError as error:
            if error.reason == Reason.JOB_NOT_FOUND:
                return
            if not is_unavailable(error):
                raise
            failures += 1
        disconnected_since = disconnected_since or time.monotonic()
        is_complete = position is not None and position >= max(seen.sequence, last.sequence)
        is_over = _is_settled(last) or time.monotonic() - disconnected_since > timeouts.cancel_outcome
        if is_complete and is_final(last) and is_over:
            return
        # Random pauses, so that thousands of streams do not reach a restarted job-service at the same time.
        await asyncio.sleep(timeouts.reopen * min(1 + failures, 5) * random.uniform(0.5, 1.0))  # noqa: S311


def _add_request(change: job_pb2.Job, seen: job_pb2.Job) -> None:
    """Copies the request into a change, which job-service sends without it, so that all jobs have the same fields."""
    if not change.HasField("request") and seen.HasField("request"):
        change.request.CopyFrom(seen.request)


def is_final(job: job_pb2.Job) -> bool:
    """Returns whether the job has ended, so that only a user's retry can change its status."""
    return job.status in FINAL


def _is_settled(job: job_pb2.Job) -> bool:
    return is_final(job) and job.provider_cancel != job_pb2.PROVIDER_CANCEL_PENDING
