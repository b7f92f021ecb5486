"""Entries of the kind `fal`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from services.generator.adapters.provider_entries.model_inputs import InputField, ModelInputs
from services.generator.adapters.provider_entries.shared import OutputFormat, RemoteEntry, Size

FalInputField = InputField | Literal["size"]

STANDARD_INPUTS: Mapping[FalInputField, str] = {
    "prompt": "prompt",
    "n": "num_images",
    "seed": "seed",
    "size": "image_size",
    "output_format": "output_format",
}


class FalSettings(ModelInputs):
    """What the models of the entry take; the first values are those of the FLUX models."""

    inputs: Mapping[FalInputField, str] = STANDARD_INPUTS
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg")
    #: The name of each size, for models that take no other; without names, a size is sent as width and height.
    size_names: Mapping[Size, str] = Field(default_factory=dict, max_length=64)


class FalEntry(RemoteEntry):
    """Requests to a queue over HTTP."""

    kind: Literal["fal"]
    settings: FalSettings = FalSettings()
