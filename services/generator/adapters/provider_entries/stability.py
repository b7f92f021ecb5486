"""Entries of the kind `stability`."""

import re
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.provider_entries.shared import ModelEntry, OutputFormat, Ratio, RemoteEntry, Strict

_MODEL = re.compile(r"core|ultra|sd3(/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?", re.ASCII)


class StabilitySettings(Strict):
    """What the models of the entry take; where nothing is said, what all of them take by the vendor's reference."""

    aspect_ratios: tuple[Ratio, ...] = ("1:1", "21:9", "16:9", "3:2", "5:4", "4:5", "2:3", "9:16", "9:21")
    output_formats: tuple[OutputFormat, ...] | None = None
    negative_prompt: bool | None = None


class StabilityEntry(RemoteEntry):
    """The endpoints `core`, `sd3` and `ultra`; `sd3/NAME` is one model of `sd3`."""

    kind: Literal["stability"]
    #: All that jobs may name: what the catalogue offers is what each of them takes.
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    settings: StabilitySettings = StabilitySettings()

    @model_validator(mode="after")
    def _models_fit(self) -> "StabilityEntry":
        names = self._names
        for name in names:
            if not _MODEL.fullmatch(name):
                raise ValueError(f"there is no model {name!r}; name core, sd3, sd3/NAME or ultra")
        if self.default_model is not None and self.default_model not in names:
            raise ValueError(f"default_model names {self.default_model!r}, which is not among the models")
        return self

    @property
    def output_formats(self) -> tuple[OutputFormat, ...]:
        """Formats that every model of the entry makes; `sd3` makes no WebP."""
        if self.settings.output_formats is not None:
            return self.settings.output_formats
        has_sd3 = any(name.partition("/")[0] == "sd3" for name in self._names)
        return ("png", "jpeg") if has_sd3 else ("png", "jpeg", "webp")

    @property
    def negative_prompt(self) -> bool:
        """Whether every model of the entry takes a negative prompt; turbo models take none."""
        if self.settings.negative_prompt is not None:
            return self.settings.negative_prompt
        return not any(name.endswith("-turbo") for name in self._names)

    @property
    def _names(self) -> list[str]:
        return [model.name for model in self.models]
