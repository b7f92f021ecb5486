"""Provider-file entry of the kind `fal`."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat
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
    """What the entry's models support; the defaults are those of the FLUX models."""

    inputs: Mapping[InputField, str] = STANDARD_INPUTS
    """The model's name for each field of a request; a field that is not listed is not offered."""
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg")
    """Formats that jobs may choose, with `inputs.output_format`."""
    storage_url: str | None = Field(default=None, pattern=r"^https?://[^/?#]+[^?#]*$")
    """Address that large input images are uploaded to, with the key. Left out: fal's own if `base_url` is left out too,
    else images are sent inside the request."""


class FalEntry(RemoteEntry):
    """Models behind fal's queue."""

    kind: Literal["fal"]
    """The kind of the provider."""
    harmless_options: ClassVar[Rules] = {**OF_DIFFUSION, "acceleration": one_of("none", "regular", "high")}
    settings: FalSettings = FalSettings()
    """Settings of the kind."""

    @property
    def storage_url(self) -> str | None:
        """Address that large input images are uploaded to; None if they are sent inside the request."""
        own = STORAGE_URL if self.base_url is None else None
        return (self.settings.storage_url or own or "").rstrip("/") or None
