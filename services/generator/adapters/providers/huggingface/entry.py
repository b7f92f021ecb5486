"""Provider-file entry of the kind `huggingface`."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import Strict
from services.generator.adapters.providers.option_rules import OF_DIFFUSION, Rules

#: The router's inference providers that this adapter supports; `endpoint` is a dedicated deployment.
InferenceProvider = Literal["hf-inference", "endpoint", "fal-ai", "replicate", "together", "nscale"]
#: Most input images of a call, by inference provider; the others take none.
MAX_INPUT_IMAGES = {"hf-inference": 1, "endpoint": 1, "together": 8}


class HuggingFaceSettings(Strict):
    """The inference provider that runs the entry's models, and what the models support."""

    provider: InferenceProvider = "hf-inference"
    """Inference provider that runs the models; `endpoint` is a dedicated deployment at `base_url`."""
    bill_to: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """Organization that pays; left out, the owner of the token."""
    min_side: int = Field(default=256, ge=1)
    """Shortest side in pixels."""
    max_side: int = Field(default=1440, ge=1)
    """Longest side in pixels."""
    side_multiple: int = Field(default=16, ge=1)
    """Sides must be a multiple of this many pixels."""
    negative_prompt: bool = False
    """Whether jobs may give a negative prompt."""
    seed: bool = True
    """Whether jobs may give a seed."""
    max_input_images: int = Field(default=0, ge=0, le=8)
    """Most input images of a job; 0 for models that make images from text only. `hf-inference` and `endpoint` take 1,
    `together` 8, the others none."""

    @model_validator(mode="after")
    def _provider_accepts_images(self) -> "HuggingFaceSettings":
        limit = MAX_INPUT_IMAGES.get(self.provider, 0)
        if self.max_input_images > limit:
            raise ValueError(f"max_input_images must be at most {limit}, the limit of {self.provider} in the router")
        return self


class HuggingFaceEntry(RemoteEntry):
    """Models behind Hugging Face's router, by their names at the inference provider."""

    kind: Literal["huggingface"]
    """The kind of the provider."""
    harmless_options: ClassVar[Rules] = OF_DIFFUSION
    settings: HuggingFaceSettings = HuggingFaceSettings()
    """Settings of the kind."""

    @model_validator(mode="after")
    def _endpoint_has_address(self) -> "HuggingFaceEntry":
        if self.settings.provider == "endpoint" and self.base_url is None:
            raise ValueError("settings.provider: endpoint needs base_url, the address of the deployment")
        return self
