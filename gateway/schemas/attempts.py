"""What was tried for a job, and what it bought."""

from typing import Literal

from gateway.schemas.jobs import CostView, ErrorView, Stage
from gateway.schemas.wire import Moment, View

Phase = Literal["intended", "accepted", "succeeded", "refused", "failed", "canceled", "not_sent", "unknown"]


class ProviderErrorView(View):
    """What the vendor said. `message` and `request_id` are told to operators alone, at `/v1/admin/jobs/{job_id}`."""

    http_status: int | None
    code: str | None
    message: str | None
    request_id: str | None


class ProviderCallView(View):
    """One row of the ledger: something that a provider was, or was to be, asked to make."""

    id: str
    provider: str
    model: str
    phase: Phase
    operation_id: str | None
    image_indexes: list[int]
    cost: CostView | None
    """Null when unknown."""
    consent: Literal["none", "job", "user"]
    provider_error: ProviderErrorView | None
    created_at: Moment | None
    settled_at: Moment | None


class AttemptView(View):
    """One claim of the job by a worker."""

    number: int
    stage: Stage | None
    worker: str
    started_at: Moment | None
    ended_at: Moment | None
    outcome: str | None
    """Null while it lasts."""
    failure_stage: Stage | None
    error: ErrorView | None
    counted: bool
    provider_calls: list[ProviderCallView]


class AttemptList(View):
    """Every attempt, oldest first."""

    attempts: list[AttemptView]
