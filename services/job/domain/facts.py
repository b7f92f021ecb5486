"""Facts: what workers state happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.job.domain.calls import CallOutcome
from services.job.domain.failures import Failure
from services.job.domain.jobs import Artifact, Fence, JobWarning, ProviderCancel


@dataclass(frozen=True, kw_only=True)
class CallAccepted:
    """A provider named an operation, and the worker could not ask for it to be written down in time."""

    job_id: str
    call_id: str
    operation_id: str
    operation_state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImagesGenerated:
    """The generating stage ended with images."""

    fence: Fence
    calls: tuple[CallOutcome, ...]
    images: tuple[Artifact, ...]
    warnings: tuple[JobWarning, ...] = ()

    @property
    def job_id(self) -> str:
        """The job that it is about."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class ImagesStored:
    """Every image of a job is public, under these names by index."""

    fence: Fence
    names: Mapping[int, str]

    @property
    def job_id(self) -> str:
        """The job that it is about."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class StageFailed:
    """A claim ended without its stage's result."""

    fence: Fence
    failure: Failure
    calls: tuple[CallOutcome, ...] = ()
    images: tuple[Artifact, ...] = ()
    deferred: bool = False

    @property
    def job_id(self) -> str:
        """The job that it is about."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class CallSettled:
    """A call of a final job ended."""

    job_id: str
    outcome: CallOutcome
    images: tuple[Artifact, ...] = ()
    provider_cancel: ProviderCancel | None


@dataclass(frozen=True, kw_only=True)
class LedgerSettled:
    """Calls ended or images were staged under a claim that moves the job no more."""

    job_id: str
    calls: tuple[CallOutcome, ...]
    images: tuple[Artifact, ...]


JobFact = CallAccepted | ImagesGenerated | ImagesStored | StageFailed | CallSettled | LedgerSettled
