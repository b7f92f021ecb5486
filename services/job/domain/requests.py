"""The request of a job, as accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Priority(IntEnum):
    """Order among a tenant's own jobs; lower runs earlier."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class OnAmbiguous(StrEnum):
    """What to do when a paid call's outcome is unknown."""

    #: Fail the job, so that the user decides.
    FAIL = "fail"
    #: Call again, once per image, though both calls may be charged.
    RETRY = "retry"


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An input image from the caller: a URL, or bytes that are stored in `job_inputs`."""

    #: HTTP or HTTPS URL; None for an image that was sent as bytes.
    url: str | None = None
    #: Media type as declared by the caller; "" when not given.
    content_type: str = ""
    #: Digest of the bytes, 64 hex digits; "" for a URL.
    sha256: str = ""
    #: Length of the bytes; 0 for a URL.
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A request as accepted; None means that the caller left the field out."""

    #: Description of the image, 1 to 32,000 characters.
    prompt: str
    #: Description of what the image must not show.
    negative_prompt: str | None = None
    #: Name of a provider; None for the default one.
    provider: str | None = None
    #: Name of a model of the provider; None for the provider's default.
    model: str | None = None
    #: Up to 5 providers to try after the first, in this order.
    fallback: tuple[str, ...] = ()
    #: Number of images, 1 to 10.
    n: int = 1
    #: `WIDTHxHEIGHT` in pixels; excludes `aspect_ratio`.
    size: str | None = None
    #: Ratio of width to height, such as `16:9`; excludes `size`.
    aspect_ratio: str | None = None
    #: Seed of the first image, 0 to 2^63-1; the next images use seed+1, seed+2 and so on.
    seed: int | None = None
    #: One of the provider's `Capabilities.qualities`.
    quality: str | None = None
    #: `png`, `jpeg` or `webp`, as the provider offers.
    output_format: str | None = None
    #: Such as `transparent` or `opaque`, as the provider offers.
    background: str | None = None
    #: Quality of jpeg and webp, 0 to 100; 100 is least compressed.
    output_compression: int | None = None
    #: Strictness of the provider's content filter, as the provider offers.
    moderation: str | None = None
    #: How closely input images are followed, as the provider offers.
    input_fidelity: str | None = None
    #: Up to 16 images to edit or to refer to.
    input_images: tuple[InputImage, ...] = ()
    #: Marks the part to edit: transparent pixels, or white ones where no pixel is transparent. Needs input images.
    mask: InputImage | None = None
    #: The provider's own options, as JSON values; only those that its rules allow.
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    #: Order among the tenant's own jobs.
    priority: Priority = Priority.NORMAL
    #: Seconds from submission within which a generator must have claimed the job.
    start_within_seconds: int | None = None
    #: Seconds from submission within which the job should be final.
    finish_within_seconds: int | None = None
    #: What to do when a paid call's outcome is unknown.
    on_ambiguous: OnAmbiguous = OnAmbiguous.FAIL
    #: Whether a fallback may serve the job after a provider refused its content.
    fallback_on_refusal: bool = False
    #: URL that the notifier posts the job's final events to.
    callback_url: str | None = None
    #: The caller's name for its user, up to 128 characters.
    end_user: str | None = None
    #: The caller's own key-value pairs, up to 16.
    metadata: Mapping[str, str] = field(default_factory=dict)
