"""A job and the values that belong to it: lease, images, cost, attempts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from calotype import object_names
from calotype.error_reasons import Reason

from services.job.domain.failures import Failure, Stage
from services.job.domain.requests import JobRequest
from services.job.domain.states import FINAL, State
from services.job.domain.wait_reasons import Wait


class ProviderCancel(StrEnum):
    """Result of canceling a job's open calls at their providers."""

    #: No call was open, so nothing had to be canceled.
    NOT_NEEDED = "not_needed"
    #: A worker has yet to cancel at the provider, or to learn the result.
    PENDING = "pending"
    #: The provider confirmed that it stopped.
    CONFIRMED = "confirmed"
    #: The provider cannot cancel; the call goes on and may be charged.
    UNSUPPORTED = "unsupported"
    #: The call had ended before the cancel reached it.
    TOO_LATE = "too_late"


@dataclass(frozen=True, kw_only=True)
class JobWarning:
    """A problem that did not keep a job from going on."""

    #: What the warning is about.
    reason: Reason
    #: One sentence for people.
    message: str
    #: Image that the warning is about, from 0; None when it is about the whole job.
    image_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A worker's right to change a job until it expires by the database's clock."""

    #: Name of the worker that holds it.
    worker: str
    #: Chosen by the worker; serves one claim.
    token: UUID
    #: Time of the claim; renewals leave it as it is.
    locked_at: datetime
    #: Time after which the stale-job monitor may take the job back.
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Fence:
    """What a worker presents to prove that it holds a lease."""

    #: The claimed job.
    job_id: str
    #: `Job.claim_number` of the claim.
    claim_number: int
    #: `Lease.token` of the claim.
    lease_token: UUID


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of `jobs`: everything that decides what may happen next."""

    #: `job_` and 32 hex digits of a UUIDv7.
    id: str
    #: Owner; 1 to 64 characters.
    tenant: str
    #: Current state; only the transitions of `states.LEGAL` change it.
    state: State
    #: Number of the last transition, from 1; each transition adds one.
    sequence: int
    #: `Priority` as a number: 0 is high, 2 is low.
    priority: int
    #: Provider that validation chose; a fallback may serve the job instead.
    provider: str
    #: Model at `provider`.
    model: str
    #: Providers to try after `provider`, in this order, each with its default model.
    fallback: tuple[str, ...] = ()
    #: Number of images requested, 1 to 10.
    image_count: int
    #: The accepted request; None in events and in deleted jobs.
    request: JobRequest | None
    #: The caller's own key-value pairs; empty once deleted.
    metadata: Mapping[str, str]
    #: The caller's name for its user; None when not given or once deleted.
    end_user: str | None
    #: W3C trace context of the request that created the job; None without tracing.
    traceparent: str | None

    #: Number of the last claim, for generation or upload; 0 before the first.
    claim_number: int = 0
    #: Counted generation attempts, over all user retries; a released or deferred claim is subtracted again.
    attempt_count: int = 0
    #: Retries by the user.
    retry_count: int = 0
    #: Failures since the last user retry by `generating/CODE` or `uploading/CODE`, and the counters `deferrals` and
    #: `recoveries`.
    failure_counts: Mapping[str, int] = field(default_factory=dict)
    #: Whether the last user retry consented to paying again for images that may already be paid for.
    user_consents: bool = False
    #: Time of the user's consent; None without consent, and for consents older than this column.
    consented_at: datetime | None = None
    #: The current claim's lease; None while the job waits or is final.
    lease: Lease | None = None

    #: Earliest time of the next claim.
    run_at: datetime
    #: Time by which a worker must have claimed the job for the first time; None for no such deadline.
    start_by: datetime | None = None
    #: Time by which the job should be final: no try begins after it. None for no such deadline.
    finish_by: datetime | None = None
    #: Start of the current wait in QUEUED; None in every other state.
    queued_at: datetime | None = None
    #: Seconds of all earlier waits in QUEUED since creation or the last user retry.
    queued_seconds: float = 0.0
    #: Failure by which a provider's limit last put the job back without counting an attempt; None once a call began.
    deferral: Failure | None = None
    #: Start of the current generation claim; None outside PROCESSING and GENERATING.
    generating_since: datetime | None = None
    #: Start of the upload stage; None outside UPLOADING.
    uploading_since: datetime | None = None

    #: Why the job failed; None unless FAILED.
    failure: Failure | None = None
    #: Result of canceling at the provider; None unless CANCELED.
    provider_cancel: ProviderCancel | None = None
    #: Problems that did not fail the job, such as missing images.
    warnings: tuple[JobWarning, ...] = ()

    #: Time of submission.
    created_at: datetime
    #: Time of the last transition.
    updated_at: datetime
    #: Time of the first claim since submission or the last user retry; None before it.
    started_at: datetime | None = None
    #: Time at which the job became final; None until then, and again after a user retry.
    completed_at: datetime | None = None
    #: Time of deletion, after which the row is a tombstone; None otherwise.
    deleted_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether only a user's retry can still change its state."""
        return self.state in FINAL

    @property
    def is_over(self) -> bool:
        """Whether no retry can use its staged images any more."""
        return self.state in (State.COMPLETED, State.CANCELED) or self.deleted_at is not None

    @property
    def may_have_calls(self) -> bool:
        """Whether a provider call of the job may be recorded: one begins only under a claim, and ends PROCESSING."""
        return self.claim_number > 1 or (self.claim_number == 1 and self.state is not State.PROCESSING)

    def seconds_queued(self, now: datetime, *, held_until: datetime | None = None) -> float:
        """Returns the seconds since `queued_at`, or since the later end of a pause; 0 for a job that is not queued."""
        if self.queued_at is None:
            return 0.0
        return max((now - max(self.queued_at, held_until or self.queued_at)).total_seconds(), 0.0)

    def wants(self, image: "Artifact") -> bool:
        """Whether a staged image is one of the requested ones and can still be published."""
        return not self.is_over and 0 <= image.image_index < self.image_count

    def is_held_by(self, fence: Fence) -> bool:
        """Whether the fence matches the current lease. An expired lease counts until another claim replaces it."""
        return (
            self.lease is not None
            and self.id == fence.job_id
            and self.claim_number == fence.claim_number
            and self.lease.token == fence.lease_token
        )


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One staged or public image of a job."""

    #: `img_` and 32 hex digits of a UUIDv7.
    id: str
    #: Job that it belongs to.
    job_id: str
    #: Position among the job's images, from 0.
    image_index: int
    #: Provider call that made it.
    call_id: str
    #: Object name in the staging bucket.
    staged_name: str
    #: Media type by its content, such as `image/png`.
    content_type: str
    #: Pixels.
    width: int
    #: Pixels.
    height: int
    #: Length of the file.
    size_bytes: int
    #: Digest of its bytes, 64 lower-case hex digits.
    sha256: str
    #: BlurHash placeholder for pages.
    blurhash: str
    #: Seed that the provider used; None when unknown.
    seed: int | None = None
    #: Prompt as the provider rewrote it; None when it did not.
    revised_prompt: str | None = None
    #: Whether the file carries C2PA provenance data.
    c2pa: bool = False
    #: Object name in the public bucket; None until published.
    public_name: str | None = None
    #: Time at which job-service recorded it.
    staged_at: datetime
    #: Time at which its publication was recorded; None until then.
    stored_at: datetime | None = None

    @property
    def own_public_name(self) -> str:
        """The object name in the public bucket that belongs to it, published or not."""
        return object_names.public_name(
            job_id=self.job_id, index=self.image_index, sha256=self.sha256, content_type=self.content_type
        )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Sum of a job's known call costs."""

    #: Millionths of a US dollar; None when no cost is known.
    amount_micros: int | None
    #: Whether the cost of every call is known.
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A job as clients see it. In events `job.request` and `job.lease` are None."""

    #: The row.
    job: Job
    #: Public images by index; empty unless the job is COMPLETED.
    artifacts: tuple[Artifact, ...]
    #: Cost of all its calls.
    cost: Cost
    #: Whether a retry needs the user's consent, as it may pay again for an image.
    retry_needs_consent: bool = False
    #: Position among the tenant's queued jobs, from 1; None unless QUEUED and read by itself.
    queue_position: int | None = None
    #: Why the job waits; None for a job that does not wait, and unless read by itself.
    wait: Wait | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One claim of a job by a worker."""

    #: The claimed job.
    job_id: str
    #: `Job.claim_number` of the claim.
    claim_number: int
    #: `Lease.token` of the claim.
    lease_token: UUID
    #: GENERATING or UPLOADING.
    stage: Stage
    #: Name of the worker.
    worker: str
    #: Time of the claim.
    started_at: datetime
    #: Time at which the claim ended; None while it is held.
    ended_at: datetime | None = None
    #: `succeeded`, `failed`, `requeued`, `released`, `rescued` or `canceled`; None while it is held.
    outcome: str | None = None
    #: Why it did not succeed; None otherwise, and once the job is deleted.
    failure: Failure | None = None
    #: Whether it counts in `Job.attempt_count`; uploads never do.
    counted: bool = True
