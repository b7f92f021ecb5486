"""Outcomes of provider calls as the ledger gets them, and open calls of final jobs."""

from dataclasses import dataclass, field

from services.generator.domain.jobs import Call, CallPhase, StagedImage
from services.generator.domain.provider_results import CancelOutcome, ProviderError


@dataclass(frozen=True, kw_only=True)
class CallOutcome:
    """How a provider call ended, for the ledger."""

    #: The call's id.
    call_id: str
    #: State that the call reached.
    phase: CallPhase
    #: Id of the provider's operation; empty without one.
    operation_id: str = ""
    #: Cost in millionths of a US dollar; None when unknown.
    cost_micros: int | None = None
    #: Error that ended the call; None without one.
    error: ProviderError | None = None
    #: Whether the provider certainly does no more work for it; None: follows from phase and error.
    is_over: bool | None = None
    #: Authorizes the report; the call's token, empty without one.
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A worker's report on calls and images of its job, which the ledger may not have yet."""

    #: Calls that ended.
    calls: tuple[CallOutcome, ...] = ()
    #: Images that were staged.
    images: tuple[StagedImage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """An open provider call of a final job, which this worker has claimed."""

    #: The open call.
    call: Call
    #: The job that it belongs to.
    job_id: str
    #: Token under which this worker holds the call.
    lease_token: str
    #: Seconds that the lease lasts from each renewal.
    lease_seconds: float
    #: Whether the job was canceled, so that the provider is to stop.
    cancel: bool
    #: W3C traceparent of the job; empty without a trace.
    traceparent: str
    #: Seconds until the call is settled as unknown; 0 or less: now.
    seconds_left: float
    #: Whether the call's images are staged, because the job failed and can be retried.
    keep: bool = False
    #: The provider's response to an earlier cancel request; None without one.
    cancel_outcome: CancelOutcome | None = None
    #: Tenant to which the job belongs; empty when job-service did not name it.
    tenant: str = ""
