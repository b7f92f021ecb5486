"""Entries of the kind `a1111`."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from common.config import ConfigError
from services.generator.adapters.providers.entry import OutputFormat, RemoteEntry, Strict
from services.generator.adapters.providers.option_rules import OptionRule, Rules, integer, number


class A1111Settings(Strict):
    """What the checkpoints of the entry do well, and what the server's device has room for."""

    max_images_per_call: int = Field(default=4, ge=1, le=10)
    #: Images that the device draws at a time; a call of more has them drawn one batch after the other.
    max_batch_size: int = Field(default=1, ge=1, le=10)
    min_side: int = Field(default=64, ge=64, le=2048)
    max_side: int = Field(default=2048, ge=64, le=2048)
    side_multiple: int = Field(default=8, ge=1)
    #: What the server saves (`samples_format`): a job that asks for this format, and for no other, is taken.
    output_format: OutputFormat | None = "png"

    @model_validator(mode="after")
    def _some_size_fits(self) -> "A1111Settings":
        if not range(-(-self.min_side // self.side_multiple) * self.side_multiple, self.max_side + 1):
            raise ValueError("no multiple of side_multiple lies between min_side and max_side")
        return self


class A1111Entry(RemoteEntry):
    """A server of one's own that speaks the API of AUTOMATIC1111's web UI; its models are checkpoints."""

    kind: Literal["a1111"]
    strip_metadata: bool = True
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

    def api_key(self, environ: Mapping[str, str]) -> str:
        """`NAME:PASSWORD` of `--api-auth`; empty where the entry names none. Raises `ConfigError`."""
        if not self.api_key_env and not self.api_key_file:
            return ""
        key = super().api_key(environ)
        if ":" not in key:
            named = f"api_key_file {self.api_key_file}" if self.api_key_file else self.api_key_env
            raise ConfigError(f"provider {self.name}: {named} must hold NAME:PASSWORD, as --api-auth has it.")
        return key

    def price_of(self, model: str) -> int:
        """Price of one image; nothing, when the file does not tell it."""
        return super().price_of(model) or 0
