"""A job, as the REST contract shows it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.schemas.wire import Moment, View

Status = Literal["queued", "processing", "generating", "uploading", "completed", "failed", "canceled"]
Stage = Literal["queued", "processing", "generating", "uploading", "persisting"]
Code = Literal["TEMPORARY", "RATE_LIMIT", "TIMEOUT", "AUTH_ERROR", "PERMANENT", "UNKNOWN"]
Tone = Literal["info", "progress", "success", "warning", "error"]
Action = Literal["cancel", "retry", "retry_may_charge_again"]
ProviderCancel = Literal["not_needed", "pending", "confirmed", "unsupported", "too_late"]


class ErrorView(View):
    """Why a job or an attempt did not succeed."""

    code: Code
    reason: str
    message: str
    retryable: bool
    retry_after_seconds: float | None
    docs_url: str


class InputImageView(View):
    """An input picture: its address, or the digest of what was sent."""

    url: str | None
    sha256: str | None
    content_type: str | None
    size_bytes: int | None


class RequestView(View):
    """The request as accepted."""

    prompt: str
    negative_prompt: str | None
    provider: str | None
    model: str | None
    fallback: list[str]
    n: int
    size: str | None
    aspect_ratio: str | None
    seed: int | None
    quality: str | None
    output_format: str | None
    background: str | None
    output_compression: int | None
    moderation: str | None
    input_fidelity: str | None
    input_images: list[InputImageView]
    mask: InputImageView | None
    provider_options: dict[str, Any]
    priority: Literal["high", "normal", "low"]
    start_within_seconds: int | None
    finish_within_seconds: int | None
    on_ambiguous: Literal["fail", "retry"]
    fallback_on_refusal: bool
    callback_url: str | None
    end_user: str | None
    metadata: dict[str, str]


class ArtifactView(View):
    """A picture that anybody may read."""

    id: str
    index: int
    url: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    blurhash: str
    seed: int | None
    revised_prompt: str | None


class DisplayView(View):
    """What to show to the user."""

    key: str
    title: str
    message: str
    tone: Tone
    percent: Annotated[int | None, Field(ge=0, le=100)]
    actions: list[Action]
    poll_after_ms: int | None
    """Milliseconds after which polling makes sense; null when final."""


class CostView(View):
    """The sum of what is known."""

    amount_micros: int | None
    """Millionths of the currency's unit; null when no call's cost is known."""
    currency: str
    complete: bool


class WarningView(View):
    """Something that went less than perfectly in a job that went on."""

    reason: str
    message: str
    image_index: int | None


class LinksView(View):
    """Where to go on."""

    self: str
    events: str
    cancel: str
    retry: str
    attempts: str
    trace: str | None


class JobView(View):
    """One request for pictures and all that became of it, as of `sequence`."""

    id: str
    status: Status
    failure_stage: Stage | None
    error: ErrorView | None
    attempt_count: int
    retry_count: int
    sequence: int
    provider: str
    model: str
    request: RequestView | None
    artifacts: list[ArtifactView]
    display: DisplayView
    queue_position: int | None
    cost: CostView
    provider_cancel: ProviderCancel | None
    warnings: list[WarningView]
    metadata: dict[str, str]
    end_user: str | None
    created_at: Moment
    updated_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    links: LinksView


class JobPage(View):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    next_page_token: str | None


class ProgressView(View):
    """Live word from a provider."""

    percent: float
    step: int | None
    steps: int | None
    message: str | None
