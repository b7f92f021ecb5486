"""Provider-file entry of the kind `replicate`."""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import Ratio
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
#: A model, one version of it, a version by its 64 digits alone, or a deployment.
MODEL = re.compile(
    rf"(?!deployments/){_PART}/{_PART}(:(?P<version>[0-9a-f]{{6,64}}))?"
    rf"|(?P<digits>[0-9a-f]{{64}})|(?P<deployment>deployments/{_PART}/{_PART})"
)


class ReplicateSettings(ModelInputs):
    """What the entry's models support; the defaults are those of FLUX schnell."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS
    """The model's name for each field of a request; a field that is not listed is not offered."""
    aspect_ratios: tuple[Ratio, ...] = (
        "1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21",
    )  # fmt: skip
    """Ratios that jobs may choose, with `inputs.aspect_ratio`."""


class ReplicateEntry(RemoteEntry):
    """Models and deployments on Replicate."""

    kind: Literal["replicate"]
    """The kind of the provider."""
    harmless_options: ClassVar[Rules] = {
        **OF_DIFFUSION,
        "prompt_strength": number(0, 1),
        "image_prompt_strength": number(0, 1),
        "output_quality": integer(0, 100),
        "go_fast": BOOLEAN,
    }
    settings: ReplicateSettings = ReplicateSettings()
    """Settings of the kind."""

    @model_validator(mode="after")
    def _models_fit(self) -> "ReplicateEntry":
        for name in (*(model.name for model in self.models), *([self.default_model] if self.default_model else [])):
            if not MODEL.fullmatch(name):
                raise ValueError(
                    f"{name[:100]!r} is not a model: write owner/name, owner/name:VERSION, the 64 digits of a version, "
                    "or deployments/owner/name"
                )
        return self
