"""Entries of the kind `huggingface`."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry, Strict
from services.generator.adapters.providers.option_rules import OF_DIFFUSION, Rules

#: Those of the router whose requests and answers are described; `endpoint` is a deployment of one's own.
InferenceProvider = Literal["hf-inference", "endpoint", "fal-ai", "replicate", "together", "nscale"]
#: Most input images of each that takes any.
MOST_INPUTS = {"hf-inference": 1, "endpoint": 1, "together": 8}


class HuggingFaceSettings(Strict):
    """Who runs the models of the entry, and what they take."""

    provider: InferenceProvider = "hf-inference"
    #: The organization that pays, where it is not the token's owner.
    bill_to: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    min_side: int = Field(default=256, ge=1)
    max_side: int = Field(default=1440, ge=1)
    side_multiple: int = Field(default=16, ge=1)
    negative_prompt: bool = False
    seed: bool = True
    #: Over 0: the models make images of images. A job without one is asked of them by its words alone.
    max_input_images: int = Field(default=0, ge=0, le=8)

    @model_validator(mode="after")
    def _provider_takes_images(self) -> "HuggingFaceSettings":
        most = MOST_INPUTS.get(self.provider, 0)
        if self.max_input_images > most:
            raise ValueError(f"max_input_images: {self.provider} takes {most or 'none'} by the router")
        return self


class HuggingFaceEntry(RemoteEntry):
    """Models behind Hugging Face's router, by their names at whoever runs them."""

    kind: Literal["huggingface"]
    harmless_options: ClassVar[Rules] = OF_DIFFUSION
    settings: HuggingFaceSettings = HuggingFaceSettings()

    @model_validator(mode="after")
    def _endpoint_has_address(self) -> "HuggingFaceEntry":
        if self.settings.provider == "endpoint" and self.base_url is None:
            raise ValueError("settings.provider endpoint needs base_url, the address of the deployment")
        return self
