"""What both clients share: which requests may come twice, how long they are asked for, and what identifies a caller."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from calotype.client.errors import CalotypeError, DeadlineExceeded, Unavailable
from calotype.job.v1 import job_pb2

T = TypeVar("T")
#: Seconds that one attempt of a call may take.
CALL_SECONDS = 10.0
#: What a request with its pictures may take longer, in bytes a second.
BODY_PACE = 1024 * 1024
#: Attempts of a call that may come twice.
ATTEMPTS = 4
#: Longest pause between attempts, in seconds; who names a longer one is not asked again.
LONGEST_PAUSE = 5.0
FINAL = (job_pb2.STATUS_COMPLETED, job_pb2.STATUS_FAILED, job_pb2.STATUS_CANCELED)
#: A job with its input images is 48 MiB at most.
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 48 * 1024 * 1024),
    ("grpc.max_send_message_length", 48 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Where nothing at all answers, this is what counts; by default it is a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Less, with gRPC's fifth more, than the pauses between the attempts of a call: the last one finds who is back.
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A service that comes back elsewhere: by default its name is not asked for again before thirty seconds are over.
    ("grpc.dns_min_time_between_resolutions_ms", 2_000),
)


@dataclass(frozen=True, kw_only=True)
class RequestIdentity:
    """Whose jobs are asked for, and the bearer token that says so. Raises `ValueError` for what can be no token."""

    tenant: str
    token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        # gRPC would tell the whole token in its error.
        if self.token and not all("!" <= character <= "~" for character in self.token):
            raise ValueError("token: it must be visible ASCII, without spaces or line ends.")

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


def pauses(*, once: bool = False) -> Iterator[float]:
    """Seconds to wait before each further attempt, of which there are none if the request may not come twice.

    They grow exponentially, and are up to half of it by chance.
    """
    for attempt in range(1, 1 if once else ATTEMPTS):
        yield _jittered(attempt)


def endless_pauses() -> Iterator[float]:
    """The same for somebody who waits for the service to come back."""
    attempt = 0
    while True:
        attempt = min(attempt + 1, 10)
        yield _jittered(attempt)


def seconds_for(request: Message) -> float:
    """What one attempt may take."""
    return CALL_SECONDS + request.ByteSize() / BODY_PACE


def required_notifier(stub: T | None) -> T:
    """Returns the stub. Raises `ValueError` if the client was made without the notifier's address."""
    if stub is None:
        raise ValueError("notifier_address: webhooks are the notifier's; give its address to the client.")
    return stub


def is_away(error: CalotypeError) -> bool:
    """Whether the service did not get to decide; what it refused, it refuses again."""
    return isinstance(error, Unavailable | DeadlineExceeded)


def may_repeat(error: CalotypeError) -> bool:
    """Whether to ask again at once, which is soon enough for the service."""
    return is_away(error) and (error.retry_after_seconds or 0.0) <= LONGEST_PAUSE


def is_over(job: job_pb2.Job) -> bool:
    """Whether a job is final."""
    return job.status in FINAL


def _jittered(attempt: int) -> float:
    longest = min(0.2 * 2**attempt, LONGEST_PAUSE)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, keeps no secret
