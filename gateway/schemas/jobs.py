"""A job as the REST API returns it."""

from typing import Annotated, Any, Literal

from calotype.error_reasons import Code
from pydantic import Field, WithJsonSchema

from gateway.schemas.wire import Moment, View

# The meanings of these values are in `gateway/api_docs/enums.py`, from which the document gets its named enums.
Status = Literal["queued", "processing", "generating", "uploading", "completed", "failed", "canceled"]
Stage = Literal["queued", "processing", "generating", "uploading", "persisting"]
#: With its values in place: the document would otherwise get a component from pydantic beside the one of `enums.py`.
CodeName = Annotated[Code, WithJsonSchema({"type": "string", "enum": [code.value for code in Code]})]
Tone = Literal["info", "progress", "success", "warning", "error"]
Action = Literal["cancel", "retry", "retry_may_charge_again"]
ProviderCancel = Literal["not_needed", "pending", "confirmed", "unsupported", "too_late"]
Priority = Literal["high", "normal", "low"]
OnAmbiguous = Literal["fail", "retry"]
WaitReason = Literal[
    "retry",
    "provider_limit",
    "provider_rate",
    "provider_down",
    "tenant_limit",
    "no_generator",
    "worker",
    "worker_lost",
    "paused",
]


class ErrorView(View):
    """Why a job or an attempt failed."""

    code: CodeName
    """Class of the failure."""
    reason: str
    """Reason within the class, from the catalogue in docs/errors.md, such as `CONTENT_POLICY`."""
    message: str
    """What happened and what to do, in one or two sentences for people."""
    retryable: bool
    """True if the same request can succeed later."""
    retry_after_seconds: float | None
    """Seconds after which a retry makes sense; null if neither provider nor service named a time."""
    docs_url: str
    """Address of the page that explains the reason."""


class InputImageView(View):
    """An input image as the service stored it; its bytes are never returned."""

    url: str | None
    """Address that the caller gave; null for an image that was sent as bytes, and for holders of a client token."""
    sha256: str | None
    """SHA-256 of the encoded image, 64 lower-case hexadecimal digits; null until known."""
    content_type: str | None
    """Media type that the caller stated, such as `image/png`; null if none."""
    size_bytes: int | None
    """Size of the encoded image in bytes; null until known."""


class RequestView(View):
    """The request as it was accepted. A field that the caller left out is null or has its default."""

    prompt: str
    """What to draw."""
    negative_prompt: str | None
    """What not to draw."""
    provider: str | None
    """Provider that the caller named; null for the default provider."""
    model: str | None
    """Model that the caller named; null for the provider's default model."""
    fallback: list[str]
    """Providers to try in this order if `provider` fails before anything was bought."""
    n: int
    """Number of images, 1 to 10."""
    size: str | None
    """Width and height in pixels, such as `1024x768`; null if not given."""
    aspect_ratio: str | None
    """Ratio of width to height, such as `16:9`; null if not given."""
    seed: int | None
    """Seed that the caller gave, 0 to 2^63-1; null if not given. JavaScript reads a seed above 2^53-1 inexactly."""
    quality: str | None
    """Quality, by the provider's own name for it."""
    output_format: str | None
    """`png`, `jpeg` or `webp`; null for the provider's own choice."""
    background: str | None
    """`transparent`, `opaque` or `auto`; null for the provider's own choice."""
    output_compression: int | None
    """Quality of jpeg and webp, 0 to 100 (least compressed); null for the provider's own choice."""
    moderation: str | None
    """How strictly the provider moderates, `auto` or `low`; null for the provider's own choice."""
    input_fidelity: str | None
    """How closely input images are preserved, `low` or `high`; null for the provider's own choice."""
    input_images: list[InputImageView]
    """Images to start from."""
    mask: InputImageView | None
    """Mask of an edit; null if none."""
    provider_options: dict[str, Any]
    """Options that were passed to the provider."""
    priority: Priority
    """Order among the tenant's own jobs."""
    start_within_seconds: int | None
    """Seconds from acceptance within which work must begin; null for no such limit."""
    finish_within_seconds: int | None
    """Seconds from acceptance within which the job must be final; null for no such limit."""
    on_ambiguous: OnAmbiguous
    """What to do if the outcome of a paid call is unknown."""
    fallback_on_refusal: bool
    """True if a refusal by a provider's content policy may be tried at the next fallback."""
    callback_url: str | None
    """URL that final events of the job are posted to; null if none was given, and for holders of a client token."""
    end_user: str | None
    """The caller's own user; null if not given, and for holders of a client token."""
    metadata: dict[str, str]
    """The caller's own labels; empty for holders of a client token."""


class ArtifactView(View):
    """A finished image. Anybody who knows its address can read it."""

    id: str
    """Id of the image, `img_...`."""
    index: int
    """Index of the image in its job, from 0."""
    url: str
    """Public address of the image; needs no credential and does not change."""
    content_type: str
    """Media type of the decoded image: `image/png`, `image/jpeg` or `image/webp`."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    size_bytes: int
    """Size of the encoded image in bytes."""
    sha256: str
    """SHA-256 of the encoded image, 64 lower-case hexadecimal digits."""
    blurhash: str
    """BlurHash placeholder, 4 x 3 components."""
    seed: int | None
    """Seed that the provider used; null if unknown. JavaScript reads a seed above 2^53-1 inexactly."""
    revised_prompt: str | None
    """The prompt as the provider rewrote it; null if it did not, or did not say so."""


class DisplayView(View):
    """What a frontend shows of a job; docs/ui-states.md lists every state."""

    key: str
    """Name of the state, such as `failed_timeout`."""
    title: str
    """Title in the language of `Accept-Language`."""
    message: str
    """One or two sentences in the language of `Accept-Language`."""
    tone: Tone
    """Tone, for colour and icon."""
    percent: Annotated[int | None, Field(ge=0, le=100)]
    """Position of a progress bar, 0 to 100; null if the state has no bar. On a stream it only grows, until a user's
    retry."""
    actions: list[Action]
    """What the user can do now; a client token restricts this to the actions that it grants."""
    next_try_at: Moment | None
    """When the job will be tried next, if it waits for a known time; null otherwise."""
    poll_after_ms: int | None
    """Milliseconds after which to poll again; null for a final job, which need not be polled."""


class WaitView(View):
    """Why a job waits, as of the time of the response; it changes without a new `sequence`."""

    reason: WaitReason
    """What the job waits for."""
    next_try_at: Moment | None
    """When it will be tried next; null if that depends on other jobs or on a worker."""
    provider: str | None
    """Provider that is limited, down or not offered; null if the reason is about none."""
    limit: int | None
    """Limit that is reached; null if the reason is no limit of this service, and for holders of a client token."""
    stage: Stage | None
    """Stage of `error`; null if it is null."""
    error: ErrorView | None
    """Failure of the last attempt or of the provider, or the limit that is reached; null if it waits for its turn."""


class CostView(View):
    """Sum of the known costs of a job's provider calls."""

    amount_micros: int | None
    """Millionths of `currency`; null if no call's cost is known, and for holders of a client token."""
    currency: str
    """ISO 4217 code, such as `USD`."""
    complete: bool
    """False while the cost of any call is unknown, in which case the sum may still grow."""


class WarningView(View):
    """A problem that did not stop the job."""

    reason: str
    """Reason from the catalogue in docs/errors.md."""
    message: str
    """What happened, for people."""
    image_index: int | None
    """Index of the image that it concerns, from 0; null if it concerns the whole job."""


class LinksView(View):
    """Absolute addresses for this job."""

    self: str
    """The job."""
    events: str
    """The job's event stream."""
    cancel: str
    """Cancels the job (POST)."""
    retry: str
    """Retries the job after a failure (POST)."""
    attempts: str
    """The job's attempts and provider calls."""
    trace: str | None
    """Address of the job's trace; null if the installation has no address for traces."""


class JobView(View):
    """A request for images and its state, as of `sequence`. Every key is present."""

    id: str
    """Id of the job, `job_...`; opaque, at most 80 characters."""
    status: Status
    """State of the job. `completed`, `failed` and `canceled` are final; only a retry leaves `failed`."""
    failure_stage: Stage | None
    """Stage in which the job failed; null unless `status` is `failed`."""
    error: ErrorView | None
    """Why the job failed; null unless `status` is `failed`."""
    attempt_count: int
    """Attempts that count against the limit of automatic retries."""
    retry_count: int
    """Retries that a user requested."""
    sequence: int
    """Version of the job: grows by 1 with every change, without a gap. The ETag and the id of `job` events."""
    provider: str
    """Provider that the job is routed to; changes if a fallback takes over."""
    model: str
    """Model that the job is routed to."""
    request: RequestView | None
    """The request as accepted; null in every `job` event of a stream after the first one."""
    artifacts: list[ArtifactView]
    """Finished images by index; empty until the job is completed."""
    display: DisplayView
    """What a frontend shows of the job."""
    queue_position: int | None
    """Position among the tenant's queued jobs, from 1; null unless the job is queued and requested by itself."""
    queue_position_is_exact: bool | None
    """Whether the position is exact, as it is up to 100; if false, show "at least". Null without a `queue_position`."""
    wait: WaitView | None
    """Why the job waits; null if a worker holds it, if it is final, in lists, and in later `job` events of a stream."""
    cost: CostView
    """Known cost of the job."""
    provider_cancel: ProviderCancel | None
    """Result of the cancellation at the provider; null unless `status` is `canceled`."""
    warnings: list[WarningView]
    """Problems that did not stop the job."""
    metadata: dict[str, str]
    """The caller's own labels; empty for holders of a client token."""
    end_user: str | None
    """The caller's own user; null if not given, and for holders of a client token."""
    created_at: Moment
    """When the job was accepted."""
    updated_at: Moment
    """When `sequence` was written."""
    started_at: Moment | None
    """When a worker first claimed the job since its last retry by a user; null before."""
    completed_at: Moment | None
    """When the job became final; null before."""
    links: LinksView
    """Addresses for this job."""


class JobPage(View):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    """Jobs of this page, newest first; can be empty before the last page."""
    next_page_token: str | None
    """Value of `page_token` for the next page; null on the last page, and only there."""


class ProgressView(View):
    """Live progress of a provider call: the data of a `progress` event. Such events may be lost."""

    percent: float
    """Position of the progress bar on the scale of `display.percent`, 0 to 100; never less than before."""
    step: int | None
    """Step that the provider is at, from 1. Not available yet: always null."""
    steps: int | None
    """Number of steps. Not available yet: always null."""
    message: str | None
    """Message of the provider. Not available yet: always null."""
