"""Attempts of a job, and their provider calls."""

from typing import Literal

from gateway.schemas.jobs import CostView, ErrorView, Stage
from gateway.schemas.wire import Moment, View

Phase = Literal["intended", "accepted", "succeeded", "refused", "failed", "canceled", "not_sent", "unknown"]
Consent = Literal["none", "job", "user"]


class ProviderErrorView(View):
    """The provider's own error. `message` and `request_id` are returned to operators only."""

    http_status: int | None
    """HTTP status of the provider's response; null if there was none."""
    code: str | None
    """The provider's own error code; null if none."""
    message: str | None
    """The provider's own message, at most 2,000 characters; null if none, and always null for tenants."""
    request_id: str | None
    """The provider's id of the request, for its support; null if none, and always null for tenants."""


class ProviderCallView(View):
    """A provider call: one row of the ledger, written before the request is sent."""

    id: str
    """Id of the call, `call_...`."""
    provider: str
    """Provider that is called."""
    model: str
    """Model that is called."""
    phase: Phase
    """State of the call."""
    operation_id: str | None
    """The provider's id of the operation; null until the provider named one."""
    image_indexes: list[int]
    """Indexes of the job's images that the call buys."""
    cost: CostView | None
    """Cost of the call; null if unknown."""
    consent: Consent
    """Who allowed a call that may pay a second time."""
    provider_error: ProviderErrorView | None
    """The provider's own error; null if there was none."""
    created_at: Moment | None
    """When the call was recorded, which is before it was sent."""
    settled_at: Moment | None
    """When the end of the call was recorded; null before."""


class AttemptView(View):
    """An attempt: one claim of the job by a worker."""

    number: int
    """Number of the claim, unique in the job; numbers need not be consecutive."""
    stage: Stage | None
    """`generating` for a claim by a generator, `uploading` for one by an uploader."""
    worker: str
    """Name of the worker."""
    started_at: Moment | None
    """When the worker claimed the job."""
    ended_at: Moment | None
    """When the attempt ended; null while it is in progress."""
    outcome: str | None
    """`succeeded`, `failed`, `requeued`, `released`, `rescued` or `canceled`; null while it is in progress."""
    failure_stage: Stage | None
    """Stage in which the attempt failed; null if it did not fail."""
    error: ErrorView | None
    """Why the attempt failed; null if it did not fail."""
    counted: bool
    """True if the attempt counts in `attempt_count` of the job."""
    provider_calls: list[ProviderCallView]
    """Provider calls that began in this attempt."""


class AttemptList(View):
    """Every attempt of a job."""

    attempts: list[AttemptView]
    """Attempts, oldest first."""
