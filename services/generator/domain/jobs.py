"""A claimed job, as the generator sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.generator.domain import foreign_text


class Phase(StrEnum):
    """Where a call of the ledger stands."""

    INTENDED = "intended"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELED = "canceled"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class MaskForm(StrEnum):
    """How a provider reads which pixels of a picture are to be edited."""

    #: A grey image: white is edited.
    WHITE = "white"
    #: A grey image: black is edited.
    BLACK = "black"
    #: White and transparent is edited, black and opaque is kept: whichever is read says the same.
    TWO_WAY = "two_way"


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """A picture that the caller brought: an address, or bytes to be asked for by index (-1 is the mask)."""

    index: int
    url: str | None
    content_type: str

    @property
    def is_mask(self) -> bool:
        """Whether it says what of the first picture is to be edited."""
        return self.index < 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be made."""

    prompt: str
    negative_prompt: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None
    quality: str | None = None
    output_format: str | None = None
    background: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    input_fidelity: str | None = None
    inputs: tuple[InputImage, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A row of the ledger, as told by job-service."""

    id: str
    provider: str
    model: str
    phase: Phase
    image_indexes: tuple[int, ...]
    idempotency_key: str
    operation_id: str
    operation_state: Mapping[str, str]
    #: Whether it was bought although an earlier one may have bought the same: that consent serves it alone.
    under_consent: bool = False
    #: Shown with whatever is told of it; empty where it came with the job, whose lease is shown then.
    token: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class StagedImage:
    """A verified image in staging."""

    index: int
    name: str
    call_id: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    blurhash: str
    seed: int | None = None
    revised_prompt: str | None = None
    c2pa: bool = False

    def __post_init__(self) -> None:
        # It may have been read from what an earlier version staged.
        if self.revised_prompt is not None:
            object.__setattr__(
                self, "revised_prompt", foreign_text.clean(self.revised_prompt, foreign_text.REVISED_PROMPT)
            )


@dataclass(frozen=True, kw_only=True)
class Route:
    """A provider and the model that it is asked for."""

    provider: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job in this worker's hands; the first four fields are its right to move it.

    `routes` are where it may go, in order; never empty.
    """

    id: str
    claim_number: int
    lease_token: str
    lease_seconds: float
    tenant: str
    routes: tuple[Route, ...]
    image_count: int
    request: Request
    calls: tuple[Call, ...]
    images: tuple[StagedImage, ...]
    traceparent: str
    #: How long the claim may take until a call begins or an earlier one is followed, and in all.
    max_processing_seconds: float
    max_seconds: float
    may_pay_again: bool
    falls_back_on_refusal: bool = False
    #: Until the job should be finished; None for all the time.
    finish_seconds: float | None = None

    def missing(self, staged: Sequence[StagedImage]) -> list[int]:
        """Indexes that are not staged yet."""
        have = {image.index for image in staged}
        return [index for index in range(self.image_count) if index not in have]
