"""Rules of both clients: time limits, repetition of calls, and the caller's identity."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from calotype.client.errors import CalotypeError, DeadlineExceeded, Unavailable
from calotype.job.v1 import job_pb2
from calotype.job_status import FINAL_STATUSES
from calotype.size_limits import MAX_JOB_MESSAGE_BYTES

T = TypeVar("T")
#: Time limit of one attempt of a call, in seconds.
CALL_SECONDS = 10.0
#: Bytes per second by which a large request, with its images, extends the time limit of its attempt.
BODY_BYTES_PER_SECOND = 1024 * 1024
#: Attempts of a call that may run twice.
ATTEMPTS = 4
#: Longest pause between attempts in seconds; a call is not repeated when the service requests a longer one.
LONGEST_PAUSE = 5.0
FINAL = frozenset(job_pb2.Status.Value(f"STATUS_{name.upper()}") for name in FINAL_STATUSES)
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_JOB_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_JOB_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Bounds the detection of a server that sends nothing at all; the default is a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # With gRPC's jitter of 20 % still less than all pauses between the attempts of a call, so that the last attempt
    # reaches a service that has restarted.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A service that restarts at another address is found; by default a name is resolved every 30 seconds.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
)


@dataclass(frozen=True, kw_only=True)
class RequestIdentity:
    """Tenant and bearer token of the caller. Raises `ValueError` for an invalid token."""

    #: Tenant of every request.
    tenant: str
    #: Bearer token; None to send none.
    token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        # The error of gRPC would quote the whole token.
        if self.token and not all("!" <= character <= "~" for character in self.token):
            raise ValueError("token: must be visible ASCII, without spaces or line ends.")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of each call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def new_key() -> str:
    """Returns a new unique idempotency key."""
    return uuid.uuid4().hex


def job_request(request: job_pb2.JobRequest | str) -> job_pb2.JobRequest:
    """Returns the request; a text becomes a request with this prompt."""
    return job_pb2.JobRequest(prompt=request) if isinstance(request, str) else request


def pauses(*, once: bool = False) -> Iterator[float]:
    """Yields the seconds to wait before each further attempt: exponential backoff, of which up to half is random.

    `once`: the call may not run twice, so that there is no further attempt.
    """
    for attempt in range(1, 1 if once else ATTEMPTS):
        yield _jittered(attempt)


def endless_pauses() -> Iterator[float]:
    """Yields the seconds to wait before each attempt, without end."""
    attempt = 0
    while True:
        attempt = min(attempt + 1, 10)
        yield _jittered(attempt)


def seconds_for(request: Message) -> float:
    """Returns the time limit of one attempt, in seconds."""
    return CALL_SECONDS + request.ByteSize() / BODY_BYTES_PER_SECOND


def required_notifier(stub: T | None) -> T:
    """Returns the stub. Raises `ValueError` if the client was made without the notifier's address."""
    if stub is None:
        raise ValueError("notifier_address: pass the address of the notifier to use webhooks.")
    return stub


def is_unavailable(error: CalotypeError) -> bool:
    """Returns whether the service did not respond, or not in time; an error that it returned would come again."""
    return isinstance(error, Unavailable | DeadlineExceeded)


def may_repeat(error: CalotypeError) -> bool:
    """Returns whether the call may be repeated after a short pause."""
    return is_unavailable(error) and (error.retry_after_seconds or 0.0) <= LONGEST_PAUSE


def is_final(job: job_pb2.Job) -> bool:
    """Returns whether a job is final."""
    return job.status in FINAL


def _jittered(attempt: int) -> float:
    longest = min(0.2 * 2**attempt, LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, keeps no secret
