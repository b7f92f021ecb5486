"""Provider-file entry of the kind `stability`."""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import ModelEntry, OutputFormat, Ratio, Strict
from services.generator.adapters.providers.option_rules import OptionRule, Rules, integer, number, one_of
from services.generator.adapters.providers.stability.endpoints import ENDPOINTS, StabilityEndpoint, endpoint_of

_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


class StabilitySettings(Strict):
    """What the entry's models support. A key without a default is, left out, what all the entry's models support by
    Stability AI's reference."""

    aspect_ratios: tuple[Ratio, ...] = ("1:1", "21:9", "16:9", "3:2", "5:4", "4:5", "2:3", "9:16", "9:21")
    """Ratios that jobs may choose, with models that take one."""
    output_formats: tuple[OutputFormat, ...] | None = None
    """Formats that jobs may choose."""
    negative_prompt: bool | None = None
    """Whether jobs may give a negative prompt."""
    strength: float = Field(default=0.7, ge=0, le=1)
    """How much `ultra` and `sd3` may change an input image if a job's options have no `strength`: from 0 (nothing) to 1
    (everything)."""


STYLES = (
    "3d-model", "analog-film", "anime", "cinematic", "comic-book", "digital-art", "enhance", "fantasy-art", "isometric",
    "line-art", "low-poly", "modeling-compound", "neon-punk", "origami", "photographic", "pixel-art", "tile-texture",
)  # fmt: skip
_PROMPT = OptionRule(type="string", max_characters=10_000)


class StabilityEntry(RemoteEntry):
    """Stability AI's endpoints below `stable-image`; a model is `core`, `ultra`, `sd3`, `sd3/NAME`, or the path of
    another endpoint, such as `edit/inpaint`."""

    kind: Literal["stability"]
    """The kind of the provider."""
    #: Fields of the endpoints by Stability AI's OpenAPI document.
    harmless_options: ClassVar[Rules] = {
        "style_preset": one_of(*STYLES),
        "cfg_scale": number(1, 10),
        "strength": number(0, 1),
        "grow_mask": integer(0, 100),
        "search_prompt": _PROMPT,
        "select_prompt": _PROMPT,
        "foreground_prompt": _PROMPT,
        **{side: integer(0, 2000) for side in ("left", "right", "up", "down")},
        "creativity": number(0, 1),
        "control_strength": number(0, 1),
        "fidelity": number(0, 1),
        "style_strength": number(0, 1),
        "composition_fidelity": number(0, 1),
        "change_strength": number(0.1, 1),
        "light_source_direction": one_of("left", "right", "above", "below", "none"),
        "light_source_strength": number(0, 1),
        "preserve_original_subject": number(0, 1),
        "original_background_depth": number(0, 1),
    }
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    """Models that a job may name, at least one; the catalogue offers what all of them support."""
    settings: StabilitySettings = StabilitySettings()
    """Settings of the kind."""

    @model_validator(mode="after")
    def _models_fit(self) -> "StabilityEntry":
        names = [model.name for model in self.models]
        for name in names:
            path, variant = endpoint_of(name)
            fits = path in ENDPOINTS and (not variant or (path == "generate/sd3" and _VARIANT.fullmatch(variant)))
            if not fits or name == "sd3/":
                others = ", ".join(path for path in ENDPOINTS if not path.startswith("generate/"))
                raise ValueError(f"there is no model {name!r}; name core, ultra, sd3, sd3/NAME, {others}")
        if self.default_model is not None and self.default_model not in names:
            raise ValueError(f"default_model names {self.default_model!r}, which is not among the models")
        if len({endpoint.is_async for endpoint in self.endpoints}) > 1:
            resumable = ", ".join(name for name in names if ENDPOINTS[endpoint_of(name)[0]].is_async)
            raise ValueError(
                f"{resumable} can be resumed after a crash and the others cannot: put it into another entry"
            )
        return self

    @property
    def endpoints(self) -> Sequence[StabilityEndpoint]:
        """Endpoints of the models, in their order."""
        return [ENDPOINTS[endpoint_of(model.name)[0]] for model in self.models]

    @property
    def output_formats(self) -> Sequence[OutputFormat]:
        """Formats that every model of the entry returns."""
        if self.settings.output_formats is not None:
            return self.settings.output_formats
        first, *others = self.endpoints
        return [name for name in first.output_formats if all(name in other.output_formats for other in others)]

    @property
    def negative_prompt(self) -> bool:
        """Whether every model of the entry supports a negative prompt; turbo models do not."""
        if self.settings.negative_prompt is not None:
            return self.settings.negative_prompt
        is_turbo = any(model.name.endswith("-turbo") for model in self.models)
        return not is_turbo and all(endpoint.negative_prompt for endpoint in self.endpoints)
