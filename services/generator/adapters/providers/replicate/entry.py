"""Entries of the kind `replicate`."""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator

from services.generator.adapters.providers.entry import Ratio, RemoteEntry
from services.generator.adapters.providers.http.model_inputs_entry import InputField, ModelInputs
from services.generator.adapters.providers.option_rules import BOOLEAN, OF_DIFFUSION, Rules, integer, number

STANDARD_INPUTS: Mapping[InputField, str] = {
    "prompt": "prompt",
    "n": "num_outputs",
    "seed": "seed",
    "aspect_ratio": "aspect_ratio",
    "output_format": "output_format",
}
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
#: A model, one version of it, a version by its digits alone, or a deployment of one's own.
MODEL = re.compile(
    rf"(?!deployments/){_PART}/{_PART}(:(?P<version>[0-9a-f]{{6,64}}))?"
    rf"|(?P<digits>[0-9a-f]{{64}})|(?P<deployment>deployments/{_PART}/{_PART})"
)


class ReplicateSettings(ModelInputs):
    """What the models of the entry take; the first values are those of FLUX schnell."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS
    aspect_ratios: tuple[Ratio, ...] = (
        "1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21",
    )  # fmt: skip


class ReplicateEntry(RemoteEntry):
    """Predictions over HTTP."""

    kind: Literal["replicate"]
    harmless_options: ClassVar[Rules] = {
        **OF_DIFFUSION,
        "prompt_strength": number(0, 1),
        "image_prompt_strength": number(0, 1),
        "output_quality": integer(0, 100),
        "go_fast": BOOLEAN,
    }
    settings: ReplicateSettings = ReplicateSettings()

    @model_validator(mode="after")
    def _models_fit(self) -> "ReplicateEntry":
        for name in (*(model.name for model in self.models), *([self.default_model] if self.default_model else [])):
            if not MODEL.fullmatch(name):
                raise ValueError(
                    f"{name[:100]!r} is no model: write owner/name, owner/name:VERSION, the 64 digits of a version, or "
                    "deployments/owner/name"
                )
        return self
