"""A claimed job as the generator sees it: request, routes, earlier provider calls, staged images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.generator.domain import untrusted_text


class CallPhase(StrEnum):
    """State of a provider call in the ledger."""

    #: Recorded before it is sent.
    INTENDED = "intended"
    #: The provider accepted it and named an operation.
    ACCEPTED = "accepted"
    #: The provider returned a result.
    SUCCEEDED = "succeeded"
    #: The provider refused the content.
    REFUSED = "refused"
    #: It ended with an error, and its outcome is certain.
    FAILED = "failed"
    #: The provider confirmed that it was canceled.
    CANCELED = "canceled"
    #: It certainly did not reach the provider, or the provider did not accept it.
    NOT_SENT = "not_sent"
    #: Its outcome is unknown; it may have been charged.
    UNKNOWN = "unknown"


class MaskForm(StrEnum):
    """How a provider marks in a mask the pixels that are to be edited."""

    #: A grey image: white is edited.
    WHITE = "white"
    #: A grey image: black is edited.
    BLACK = "black"
    #: White and transparent is edited, black and opaque is kept: colour and alpha say the same.
    TWO_WAY = "two_way"


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An input image of a request, by URL or as bytes that job-service holds."""

    #: Position in the request, from 0; -1: the mask.
    index: int
    #: Address of the image; None: the bytes are read from job-service by `index`.
    url: str | None
    #: Media type that the caller declared; empty when none.
    content_type: str

    @property
    def is_mask(self) -> bool:
        """Whether it is the mask, which marks the part of the first image that is to be edited."""
        return self.index < 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the caller wants; None stands for the provider's default."""

    #: Description of the images.
    prompt: str
    #: What the images should not show.
    negative_prompt: str | None = None
    #: `WIDTHxHEIGHT` in pixels.
    size: str | None = None
    #: `WIDTH:HEIGHT`, such as `16:9`.
    aspect_ratio: str | None = None
    #: Seed of the image with index 0; the image with index i has this seed plus i.
    seed: int | None = None
    #: Quality level, by the provider's names.
    quality: str | None = None
    #: Image format, such as `png`.
    output_format: str | None = None
    #: Background, such as `transparent`.
    background: str | None = None
    #: Compression in percent, 0 to 100.
    output_compression: int | None = None
    #: Level of content moderation, by the provider's names.
    moderation: str | None = None
    #: How closely the result follows the input images, by the provider's names.
    input_fidelity: str | None = None
    #: Input images in the order of the request, the mask last.
    inputs: tuple[InputImage, ...] = ()
    #: Further options, by the provider's names.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A provider call as the ledger of job-service has it."""

    #: `call_` and 32 hex characters.
    id: str
    #: Name of the provider.
    provider: str
    #: Model that is called.
    model: str
    #: State in the ledger.
    phase: CallPhase
    #: Indexes of the images that it is to make.
    image_indexes: tuple[int, ...]
    #: Key that is sent to the provider, so that a repeat is not charged again.
    idempotency_key: str
    #: Id of the provider's operation; empty without one.
    operation_id: str
    #: Data that the adapter needs to follow the operation.
    operation_state: Mapping[str, str]
    #: Whether an earlier call may have bought the same images; the user's consent to pay again covers this call only.
    under_consent: bool = False
    #: Authorizes reports about the call; empty for a call that came with the job, whose lease authorizes them.
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class StagedImage:
    """A verified image in the staging bucket."""

    #: Position in the job, from 0.
    index: int
    #: Object name in the staging bucket.
    name: str
    #: The provider call that made it.
    call_id: str
    #: Media type, by the image's bytes.
    content_type: str
    #: Width in pixels.
    width: int
    #: Height in pixels.
    height: int
    #: Size of the encoded image in bytes.
    size_bytes: int
    #: SHA-256 of its bytes, 64 hex characters.
    sha256: str
    #: BlurHash, a short placeholder for the image.
    blurhash: str
    #: Seed that the provider reported; None when unknown.
    seed: int | None = None
    #: Prompt that the provider used instead; None when unknown or unchanged.
    revised_prompt: str | None = None
    #: Whether it carries C2PA content credentials.
    c2pa: bool = False

    def __post_init__(self) -> None:
        # The text may come from an image that an earlier version staged.
        if self.revised_prompt is not None:
            object.__setattr__(
                self, "revised_prompt", untrusted_text.clean(self.revised_prompt, untrusted_text.REVISED_PROMPT)
            )


@dataclass(frozen=True, kw_only=True)
class Route:
    """A provider and a model to which a job may go."""

    #: Name of the provider.
    provider: str
    #: Model to be called.
    model: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that this worker has claimed; id, claim number and lease token authorize its reports."""

    #: `job_` and 32 hex characters.
    id: str
    #: Counts the claims of the job, from 1.
    claim_number: int
    #: Counts the retries that a user requested.
    retry_count: int = 0
    #: Token of the lease.
    lease_token: str
    #: Seconds that the lease lasts from each renewal.
    lease_seconds: float
    #: Tenant to which the job belongs.
    tenant: str
    #: Where the job may go, in order of preference; never empty.
    routes: tuple[Route, ...]
    #: Images that the job is to have.
    image_count: int
    #: What the caller wants.
    request: Request
    #: Provider calls of earlier claims, oldest first.
    calls: tuple[Call, ...]
    #: Images that earlier claims staged.
    images: tuple[StagedImage, ...]
    #: W3C traceparent of the job; empty without a trace.
    traceparent: str
    #: Seconds that the claim may take until a call begins or an earlier one is followed.
    max_processing_seconds: float
    #: Seconds that the claim may take in all.
    max_seconds: float
    #: Whether the user consented to pay again for images that may already have been charged.
    may_pay_again: bool
    #: Whether the next route may be used after a content refusal.
    falls_back_on_refusal: bool = False
    #: Seconds from the claim until the job's deadline; None: no deadline.
    finish_seconds: float | None = None

    def missing(self, staged: Sequence[StagedImage]) -> list[int]:
        """Returns the indexes of images that are not staged yet."""
        indexes = {image.index for image in staged}
        return [index for index in range(self.image_count) if index not in indexes]
