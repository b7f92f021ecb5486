"""One claim under way: the right to the job, its time, and what it has come to so far."""

import time
from dataclasses import dataclass, field
from math import inf

from common.leased_work import Slot
from services.generator.domain import failures
from services.generator.domain.jobs import Call, Job, Phase, StagedImage
from services.generator.domain.provider_results import JobWarning, ProviderError
from services.generator.domain.settlements import Known, Outcome


class Interrupted(Exception):
    """The lease is lost, the job canceled or the process stopping: nothing more is begun."""


@dataclass(eq=False, kw_only=True)
class Claim:
    """What is known here of a claimed job: all of it is told at the end, however that comes."""

    slot: Slot[Job]
    images: dict[int, StagedImage] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    #: A call was begun or is followed: the claim's time is that for generating.
    is_generating: bool = False
    #: An acceptance is on its way as a fact: whoever claims the job before it arrives knows too little.
    told_as_fact: bool = False
    #: What its user is told beside the images.
    warnings: tuple[JobWarning, ...] = ()
    #: How many of the job's routes sold nothing to this claim.
    routes_given_up: int = 0

    def __post_init__(self) -> None:
        self.images |= {image.index: image for image in self.job.images}

    @property
    def job(self) -> Job:
        """The job."""
        return self.slot.work

    @property
    def deadline(self) -> float:
        """When the claim's time is over, on the monotonic clock."""
        most = self.job.max_seconds if self.is_generating else self.job.max_processing_seconds
        return self.slot.claimed_at + most

    @property
    def finish_at(self) -> float:
        """When the job should be finished, on the monotonic clock."""
        return inf if self.job.finish_seconds is None else self.slot.given_at + self.job.finish_seconds

    def seconds_left(self, most: float) -> float:
        """How long something may take that should take at most so long."""
        return max(min(most, self.deadline - time.monotonic()), 0.1)

    def must_go_on(self) -> None:
        """Raises `Interrupted`, or `StageError` when the time is over: nothing new is begun then."""
        if not self.slot.may_begin:
            raise Interrupted
        if time.monotonic() >= self.finish_at:
            raise failures.out_of_time()
        if time.monotonic() >= self.deadline:
            raise failures.stage_too_long(is_generating=self.is_generating)

    def missing(self) -> list[int]:
        """Indexes of images that are not staged."""
        return self.job.missing(tuple(self.images.values()))

    def new_images(self) -> tuple[StagedImage, ...]:
        """Staged images that the ledger did not know when the job was claimed."""
        known = {image.index for image in self.job.images}
        return tuple(image for index, image in sorted(self.images.items()) if index not in known)

    @property
    def known(self) -> Known:
        """What the ledger may not know yet."""
        return Known(calls=tuple(self.outcomes.values()), images=self.new_images())

    def end_unsent(self, call_id: str) -> None:
        """Remember that a call surely never left, whether or not it was written down."""
        self.outcomes[call_id] = Outcome(call_id=call_id, phase=Phase.NOT_SENT)

    def end(
        self, call: Call, phase: Phase, *, cost_micros: int | None = None, error: ProviderError | None = None
    ) -> None:
        """Remember how a call ended."""
        self.outcomes[call.id] = Outcome(
            call_id=call.id,
            phase=phase,
            operation_id=call.operation_id,
            cost_micros=cost_micros,
            error=error and error.forget(),
            token=call.token,
        )
