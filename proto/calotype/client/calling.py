"""What both clients share: which requests may come twice, how long they are asked for, and what identifies a caller."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from calotype.client.errors import CalotypeError, DeadlineExceeded, Unavailable
from calotype.job.v1 import job_pb2, job_service_pb2

#: Seconds that one attempt of a call may take.
CALL_SECONDS = 10.0
#: Attempts of a call that may come twice.
ATTEMPTS = 4
#: Longest pause between attempts, in seconds.
LONGEST_PAUSE = 5.0
FINAL = (job_pb2.STATUS_COMPLETED, job_pb2.STATUS_FAILED, job_pb2.STATUS_CANCELED)
#: A job with its input images is 48 MiB at most.
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 48 * 1024 * 1024),
    ("grpc.max_send_message_length", 48 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

Update = job_pb2.Job | job_service_pb2.Progress


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose jobs are asked for, and the bearer token that says so."""

    tenant: str
    token: str | None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def new_key() -> str:
    """An idempotency key that nobody else uses."""
    return uuid.uuid4().hex


def wanted(request: job_pb2.JobRequest | str) -> job_pb2.JobRequest:
    """A request, also when only a prompt was given."""
    return job_pb2.JobRequest(prompt=request) if isinstance(request, str) else request


def pauses() -> Iterator[float]:
    """Seconds to wait before each further attempt: exponential, with full jitter."""
    for attempt in range(1, ATTEMPTS):
        yield _jittered(attempt)


def endless_pauses() -> Iterator[float]:
    """The same for somebody who waits for the service to come back."""
    attempt = 0
    while True:
        attempt = min(attempt + 1, 10)
        yield _jittered(attempt)


def may_repeat(error: CalotypeError) -> bool:
    """Whether the service did not get to decide; what it refused, it refuses again."""
    return isinstance(error, Unavailable | DeadlineExceeded)


def is_over(job: job_pb2.Job) -> bool:
    """Whether a job is final."""
    return job.status in FINAL


def too_late(job_id: str, seconds: float) -> DeadlineExceeded:
    """A job did not become final in the time that was given."""
    return DeadlineExceeded(
        f"The job {job_id} was not final after {seconds:g} s; it goes on.",
        status=grpc.StatusCode.DEADLINE_EXCEEDED,
        reason="DEADLINE_EXCEEDED",
    )


def update_of(response: Any) -> Update:
    """What a stream told."""
    update: Update = response.job if response.WhichOneof("update") == "job" else response.progress
    return update


def _jittered(attempt: int) -> float:
    return random.uniform(0, min(0.1 * 2**attempt, LONGEST_PAUSE))  # noqa: S311 - spreads load, keeps no secret
