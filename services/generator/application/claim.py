"""The state of one claim of a job: its lease, its deadlines, and its results so far."""

import time
from dataclasses import dataclass, field
from math import inf

from common.leased_work import Slot
from services.generator.application import call_log
from services.generator.domain import failures
from services.generator.domain.jobs import Call, CallPhase, Job, StagedImage
from services.generator.domain.provider_results import JobWarning, ProviderError
from services.generator.domain.settlements import CallOutcome, WorkerReport


class Interrupted(Exception):
    """The lease is lost, the job canceled or the process stopping: the worker starts nothing more for this job."""


@dataclass(eq=False, kw_only=True)
class Claim:
    """A claimed job and its results so far, all of which are reported when the claim ends, however it ends."""

    #: The leased job.
    slot: Slot[Job]
    #: Staged images by index, those of earlier claims included.
    images: dict[int, StagedImage] = field(default_factory=dict)
    #: Outcomes of calls by call id.
    outcomes: dict[str, CallOutcome] = field(default_factory=dict)
    #: Whether a call was begun or is followed: the time limit is then that of generating.
    is_generating: bool = False
    #: Whether an acceptance was published as a fact. The job is then not released: the next claim could start before
    #: job-service has the fact.
    published_as_fact: bool = False
    #: Warnings for the user of the job.
    warnings: tuple[JobWarning, ...] = ()
    #: Number of the job's routes that were tried without success.
    failed_routes: int = 0
    #: When calls were sent or first followed by this claim, on the monotonic clock, by call id.
    _begun: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.images |= {image.index: image for image in self.job.images}

    @property
    def job(self) -> Job:
        """The claimed job."""
        return self.slot.work

    @property
    def deadline(self) -> float:
        """When the claim's time limit ends, on the monotonic clock."""
        limit = self.job.max_seconds if self.is_generating else self.job.max_processing_seconds
        return self.slot.claimed_at + limit

    @property
    def finish_at(self) -> float:
        """The job's own deadline, on the monotonic clock."""
        return inf if self.job.finish_seconds is None else self.slot.received_at + self.job.finish_seconds

    def seconds_left(self, limit: float) -> float:
        """Returns the timeout in seconds for an action: `limit` or the claim's remaining time, but 0.1 or more."""
        return max(min(limit, self.deadline - time.monotonic()), 0.1)

    def require_time(self) -> None:
        """Raises `Interrupted`, or `StageError` after a deadline, when the worker must start nothing new."""
        if not self.slot.may_begin:
            raise Interrupted
        if time.monotonic() >= self.finish_at:
            raise failures.out_of_time()
        if time.monotonic() >= self.deadline:
            raise failures.stage_too_long(is_generating=self.is_generating)

    def missing(self) -> list[int]:
        """Returns the indexes of images that are not staged."""
        return self.job.missing(tuple(self.images.values()))

    def new_images(self) -> tuple[StagedImage, ...]:
        """Returns the staged images that were not in the ledger when the job was claimed."""
        recorded = {image.index for image in self.job.images}
        return tuple(image for index, image in sorted(self.images.items()) if index not in recorded)

    @property
    def report(self) -> WorkerReport:
        """Outcomes and images that the ledger may not have yet."""
        return WorkerReport(calls=tuple(self.outcomes.values()), images=self.new_images())

    def begin(self, call: Call) -> None:
        """Notes that a call is sent or followed from now on, for its duration in the log."""
        self._begun[call.id] = time.monotonic()

    def end_unsent(self, call_id: str) -> None:
        """Records that a call was certainly not sent, whether or not job-service recorded it."""
        self.outcomes[call_id] = CallOutcome(call_id=call_id, phase=CallPhase.NOT_SENT)

    def end(
        self, call: Call, phase: CallPhase, *, cost_micros: int | None = None, error: ProviderError | None = None
    ) -> None:
        """Records how a call ended, and logs it."""
        known = self.outcomes.get(call.id)
        outcome = CallOutcome(
            call_id=call.id,
            phase=phase,
            operation_id=call.operation_id,
            cost_micros=cost_micros,
            error=error and error.forget(),
            token=call.token,
        )
        self.outcomes[call.id] = outcome
        if known is None or known.phase is not phase:
            job = self.job
            call_log.write(call, outcome, job_id=job.id, tenant=job.tenant, begun=self._begun.get(call.id))
