"""Provider-file entry of the kind `a1111`."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from common.config import ConfigError
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Strict
from services.generator.adapters.providers.option_rules import OptionRule, Rules, integer, number


class A1111Settings(Strict):
    """Sizes that the entry's checkpoints support, and how many images the server's device has memory for."""

    max_images_per_call: int = Field(default=4, ge=1, le=10)
    """Most images of one call; a job of more images is several calls."""
    max_batch_size: int = Field(default=1, ge=1, le=10)
    """Images that the device draws at a time; the images of a larger call are drawn batch after batch."""
    min_side: int = Field(default=64, ge=64, le=2048)
    """Shortest side in pixels."""
    max_side: int = Field(default=2048, ge=64, le=2048)
    """Longest side in pixels."""
    side_multiple: int = Field(default=8, ge=1)
    """Sides must be a multiple of this many pixels."""
    output_format: OutputFormat | None = "png"
    """Format that the server saves (`samples_format`); a job may request only this format. `null`: none may be
    requested."""

    @model_validator(mode="after")
    def _some_size_fits(self) -> "A1111Settings":
        if not range(-(-self.min_side // self.side_multiple) * self.side_multiple, self.max_side + 1):
            raise ValueError("side_multiple has no multiple between min_side and max_side")
        return self


class A1111Entry(RemoteEntry):
    """A self-hosted server with the API of AUTOMATIC1111's web UI; its models are checkpoints."""

    kind: Literal["a1111"]
    """The kind of the provider."""
    strip_metadata: bool = True
    """Whether metadata is removed from results: the server writes the prompt and the seed into images."""
    harmless_options: ClassVar[Rules] = {
        "steps": integer(1, 50),
        "cfg_scale": number(0, 30),
        "distilled_cfg_scale": number(0, 30),
        "denoising_strength": number(0, 1),
        "sampler_name": OptionRule(type="string", max_characters=100),
        "scheduler": OptionRule(type="string", max_characters=100),
        "override_settings.CLIP_stop_at_last_layers": integer(1, 12),
    }
    settings: A1111Settings = A1111Settings()
    """Settings of the kind."""

    def api_key(self, environ: Mapping[str, str]) -> str:
        """Returns `NAME:PASSWORD` of `--api-auth`; empty if the entry names no key. Raises `ConfigError`."""
        if not self.api_key_env and not self.api_key_file:
            return ""
        key = super().api_key(environ)
        if ":" not in key:
            source = f"api_key_file {self.api_key_file}" if self.api_key_file else self.api_key_env
            raise ConfigError(f"provider {self.name}: {source} must hold NAME:PASSWORD, as --api-auth has it.")
        return key

    def price_of(self, model: str) -> int:
        """Returns the price of one image in millionths of a US dollar; 0 if the file has none."""
        return super().price_of(model) or 0
