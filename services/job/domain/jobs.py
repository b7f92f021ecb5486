"""A job and what belongs to it, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from calotype import object_names

from services.job.domain.failures import Failure, Stage
from services.job.domain.requests import JobRequest
from services.job.domain.states import FINAL, State


class ProviderCancel(StrEnum):
    """What became of the wish to cancel at the provider."""

    NOT_NEEDED = "not_needed"
    PENDING = "pending"
    CONFIRMED = "confirmed"
    UNSUPPORTED = "unsupported"
    TOO_LATE = "too_late"


@dataclass(frozen=True, kw_only=True)
class JobWarning:
    """Something that went less than perfectly in a job that went on."""

    reason: str
    message: str
    image_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A worker's right to move a job, until the database's clock says otherwise."""

    worker: str
    token: UUID
    locked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Fence:
    """What a worker shows to prove its right."""

    job_id: str
    claim_number: int
    lease_token: UUID


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of `jobs`: everything that decides what may happen next."""

    id: str
    tenant: str
    state: State
    sequence: int
    priority: int
    provider: str
    model: str
    fallback: tuple[str, ...] = ()
    image_count: int
    request: JobRequest | None
    metadata: Mapping[str, str]
    end_user: str | None
    traceparent: str | None

    claim_number: int = 0
    attempt_count: int = 0
    retry_count: int = 0
    failure_counts: Mapping[str, int] = field(default_factory=dict)
    user_consents: bool = False
    #: When the user consented, by the last retry; None where nobody did, or before this was written down.
    consented_at: datetime | None = None
    lease: Lease | None = None

    run_at: datetime
    start_by: datetime | None = None
    finish_by: datetime | None = None
    queued_at: datetime | None = None
    queued_seconds: float = 0.0
    #: Why a limit put the job back without an attempt, the last time; None once a call began.
    deferral: Failure | None = None
    generating_since: datetime | None = None
    uploading_since: datetime | None = None

    failure: Failure | None = None
    provider_cancel: ProviderCancel | None = None
    warnings: tuple[JobWarning, ...] = ()

    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deleted_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing but a user's retry moves it any more."""
        return self.state in FINAL

    @property
    def is_over(self) -> bool:
        """Whether no retry can ask for its staged images any more."""
        return self.state in (State.COMPLETED, State.CANCELED) or self.deleted_at is not None

    def wants(self, image: "Artifact") -> bool:
        """Whether an image that was staged is one of those asked for, and somebody may still see it."""
        return not self.is_over and 0 <= image.image_index < self.image_count

    def is_held_by(self, fence: Fence) -> bool:
        """Whether the fence is the job's present one. An expired lease that nobody took still counts."""
        return (
            self.lease is not None
            and self.id == fence.job_id
            and self.claim_number == fence.claim_number
            and self.lease.token == fence.lease_token
        )


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One staged or public image of a job."""

    id: str
    job_id: str
    image_index: int
    call_id: str
    staged_name: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    blurhash: str
    seed: int | None = None
    revised_prompt: str | None = None
    c2pa: bool = False
    public_name: str | None = None
    staged_at: datetime
    stored_at: datetime | None = None

    @property
    def own_public_name(self) -> str:
        """The name that it has in the public bucket, once it is there."""
        return object_names.public_name(
            job_id=self.job_id, index=self.image_index, sha256=self.sha256, content_type=self.content_type
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Sum of the known costs in millionths of a US dollar; None when none is known."""

    amount_micros: int | None
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A job as others see it: the row, its public images and its cost. In events `job.request` is None."""

    job: Job
    artifacts: tuple[Artifact, ...]
    cost: Cost
    retry_needs_consent: bool = False
    queue_position: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One claim of a job by a worker."""

    job_id: str
    claim_number: int
    lease_token: UUID
    stage: Stage
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    failure: Failure | None = None
    counted: bool = True
