"""Entries of the kind `replicate`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from services.generator.adapters.provider_entries.shared import OutputFormat, Ratio, RemoteEntry, Strict

InputField = Literal[
    "prompt", "negative_prompt", "n", "seed", "aspect_ratio", "width", "height", "output_format", "quality"
]

STANDARD_INPUTS: Mapping[InputField, str] = {
    "prompt": "prompt",
    "n": "num_outputs",
    "seed": "seed",
    "aspect_ratio": "aspect_ratio",
    "output_format": "output_format",
}


class ReplicateSettings(Strict):
    """What the models of the entry take: the input that each field of a request goes into, and its legal values."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    aspect_ratios: tuple[Ratio, ...] = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    qualities: tuple[str, ...] = ()
    min_side: int = Field(default=256, ge=1)
    max_side: int = Field(default=1440, ge=1)
    side_multiple: int = Field(default=16, ge=1)


class ReplicateEntry(RemoteEntry):
    """Predictions over HTTP."""

    kind: Literal["replicate"]
    settings: ReplicateSettings = ReplicateSettings()
