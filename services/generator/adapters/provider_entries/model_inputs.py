"""What entries say of models whose inputs have names of their own, whichever vendor runs them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from services.generator.adapters.provider_entries.shared import OutputFormat, Ratio, Strict

InputField = Literal[
    "prompt", "negative_prompt", "n", "seed", "aspect_ratio", "width", "height", "output_format", "quality"
]


class ModelInputs(Strict):
    """What the models of an entry take: the input that each field of a request goes into, and its legal values."""

    #: Each kind says which fields there may be, and what they are called where the file does not say.
    inputs: Mapping[Any, str]
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    aspect_ratios: tuple[Ratio, ...] = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    qualities: tuple[str, ...] = ()
    min_side: int = Field(default=256, ge=1)
    max_side: int = Field(default=1440, ge=1)
    side_multiple: int = Field(default=16, ge=1)
