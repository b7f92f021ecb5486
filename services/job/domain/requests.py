"""What a caller asks for, and what the providers of the catalogue can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Priority(IntEnum):
    """Order among a tenant's own jobs; lower is earlier."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class OnAmbiguous(StrEnum):
    """What to do when a paid call's outcome is unknown."""

    FAIL = "fail"
    RETRY = "retry"


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """A picture that the caller brought: an address, or bytes that lie in `job_inputs`."""

    url: str | None = None
    content_type: str = ""
    sha256: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A request as accepted."""

    prompt: str
    negative_prompt: str | None = None
    provider: str | None = None
    model: str | None = None
    fallback: tuple[str, ...] = ()
    n: int = 1
    size: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None
    quality: str | None = None
    output_format: str | None = None
    background: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    input_fidelity: str | None = None
    input_images: tuple[InputImage, ...] = ()
    mask: InputImage | None = None
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    start_within_seconds: int | None = None
    finish_within_seconds: int | None = None
    on_ambiguous: OnAmbiguous = OnAmbiguous.FAIL
    fallback_on_refusal: bool = False
    callback_url: str | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
