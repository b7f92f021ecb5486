"""Facts: messages in which workers report what happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.job.domain.calls import CallOutcome
from services.job.domain.failures import Failure
from services.job.domain.jobs import Artifact, Fence, JobWarning, ProviderCancel


@dataclass(frozen=True, kw_only=True)
class CallAccepted:
    """A provider accepted a call, and the worker could not record its operation id by gRPC in time."""

    #: Job of the call.
    job_id: str
    #: The accepted call.
    call_id: str
    #: The provider's id of the operation.
    operation_id: str
    #: What the adapter needs to follow the operation, such as URLs.
    operation_state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImagesGenerated:
    """The generating stage ended with images."""

    #: The claim that generated them.
    fence: Fence
    #: Ends of calls since the worker's last report.
    calls: tuple[CallOutcome, ...]
    #: Images that the worker staged.
    images: tuple[Artifact, ...]
    #: Problems that did not fail the stage.
    warnings: tuple[JobWarning, ...] = ()

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class ImagesStored:
    """The uploading stage ended: every image is public."""

    #: The claim that uploaded them.
    fence: Fence
    #: Object names in the public bucket, by image index.
    names: Mapping[int, str]

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class StageFailed:
    """A claim ended without its stage's result."""

    #: The claim that failed.
    fence: Fence
    #: Why it failed.
    failure: Failure
    #: Ends of calls since the worker's last report.
    calls: tuple[CallOutcome, ...] = ()
    #: Images that were staged before the failure.
    images: tuple[Artifact, ...] = ()
    #: Whether a provider's limit held the job back, so that the attempt does not count.
    deferred: bool = False

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.fence.job_id


@dataclass(frozen=True, kw_only=True)
class CallSettled:
    """A call of a final job ended."""

    #: Job of the call.
    job_id: str
    #: How it ended.
    outcome: CallOutcome
    #: Images that were staged for a later retry.
    images: tuple[Artifact, ...] = ()
    #: Result of canceling it; None when it was not canceled.
    provider_cancel: ProviderCancel | None


@dataclass(frozen=True, kw_only=True)
class LedgerSettled:
    """Calls ended or images were staged under a claim that can no longer change the job."""

    #: Job of the calls and images.
    job_id: str
    #: Ends of calls.
    calls: tuple[CallOutcome, ...]
    #: Staged images.
    images: tuple[Artifact, ...]


JobFact = CallAccepted | ImagesGenerated | ImagesStored | StageFailed | CallSettled | LedgerSettled
