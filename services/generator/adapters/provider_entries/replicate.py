"""Entries of the kind `replicate`."""

from collections.abc import Mapping
from typing import Literal

from services.generator.adapters.provider_entries.model_inputs import InputField, ModelInputs
from services.generator.adapters.provider_entries.shared import RemoteEntry

STANDARD_INPUTS: Mapping[InputField, str] = {
    "prompt": "prompt",
    "n": "num_outputs",
    "seed": "seed",
    "aspect_ratio": "aspect_ratio",
    "output_format": "output_format",
}


class ReplicateSettings(ModelInputs):
    """What the models of the entry take."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS


class ReplicateEntry(RemoteEntry):
    """Predictions over HTTP."""

    kind: Literal["replicate"]
    settings: ReplicateSettings = ReplicateSettings()
