"""Entries of the kind `fal`."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from services.generator.adapters.providers.entry import OutputFormat, RemoteEntry
from services.generator.adapters.providers.http.model_inputs_entry import InputField, ModelInputs
from services.generator.adapters.providers.option_rules import OF_DIFFUSION, Rules, one_of

STANDARD_INPUTS: Mapping[InputField, str] = {
    "prompt": "prompt",
    "n": "num_images",
    "seed": "seed",
    "size": "image_size",
    "output_format": "output_format",
}
STORAGE_URL = "https://rest.fal.ai"


class FalSettings(ModelInputs):
    """What the models of the entry take; the first values are those of the FLUX models."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg")
    #: Where large input images are put, with the key; the vendor's own where `base_url` is left out. Without one, they
    #: are sent inside the request.
    storage_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+[^?#]*$")


class FalEntry(RemoteEntry):
    """Requests to a queue over HTTP."""

    kind: Literal["fal"]
    harmless_options: ClassVar[Rules] = {**OF_DIFFUSION, "acceleration": one_of("none", "regular", "high")}
    settings: FalSettings = FalSettings()

    @property
    def storage_url(self) -> str | None:
        """Where large input images are put; None where they are sent inside the request."""
        own = STORAGE_URL if self.base_url is None else None
        return (self.settings.storage_url or own or "").rstrip("/") or None
