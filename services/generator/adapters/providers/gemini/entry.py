"""Provider-file entry of the kind `gemini`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

from pydantic import Field

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import Ratio, Strict
from services.generator.adapters.providers.option_rules import Rules, integer, number


@dataclass(frozen=True, kw_only=True)
class GeminiLimits:
    """What models support if the file does not say; the defaults are those of every image model.

    Each attribute is named as its key in `GeminiSettings`.
    """

    aspect_ratios: tuple[str, ...] = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
    """Ratios that a job may choose."""
    qualities: tuple[str, ...] = ()
    """Google's image sizes, such as 1K; empty if they cannot be chosen."""
    max_input_images: int = 8
    """Most input images of a job."""


_ANY = GeminiLimits()
_PRO = replace(_ANY, qualities=("1K", "2K", "4K"), max_input_images=14)
_WIDE = replace(_PRO, aspect_ratios=(*_ANY.aspect_ratios, "1:4", "4:1", "1:8", "8:1"))
#: Limits by model name, first match. Source: https://ai.google.dev/gemini-api/docs/image-generation
_MODELS = (
    (r"gemini-3-pro-image", _PRO),
    (r"gemini-3\.1-flash-image", replace(_WIDE, qualities=("512", "1K", "2K", "4K"))),
    (r"gemini-nano-banana-2\.[0-9]+", _WIDE),
)


class GeminiSettings(Strict):
    """What the entry's models support. A key without a default is, left out, what all the entry's models support by
    Google's reference."""

    aspect_ratios: tuple[Ratio, ...] | None = None
    """Ratios that jobs may choose."""
    qualities: tuple[str, ...] | None = None
    """Google's image sizes that jobs may choose as quality, such as 1K, 2K and 4K."""
    seed: bool = False
    """Whether jobs may give a seed: only some models repeat an image for the same seed."""
    max_input_images: int | None = Field(default=None, ge=0, le=14)
    """Most input images of a job."""


class GeminiEntry(RemoteEntry):
    """Google's models whose `generateContent` returns images."""

    kind: Literal["gemini"]
    """The kind of the provider."""
    harmless_options: ClassVar[Rules] = {
        "generationConfig.temperature": number(0, 2),
        "generationConfig.topP": number(0, 1),
        "generationConfig.topK": integer(1, 1000),
    }
    knows_prices: ClassVar[bool] = True
    settings: GeminiSettings = GeminiSettings()
    """Settings of the kind."""

    @property
    def limits(self) -> GeminiLimits:
        """What every model of the entry supports: the settings, else Google's reference."""
        common = _common([_limits_of(name) for name in sorted({self.model, *(model.name for model in self.models)})])
        configured = {field.name: getattr(self.settings, field.name) for field in fields(GeminiLimits)}
        return replace(common, **{name: value for name, value in configured.items() if value is not None})


def _limits_of(model: str) -> GeminiLimits:
    """Returns the limits of a model, also of a preview or a version of it."""
    matching = (
        limits for pattern, limits in _MODELS if re.fullmatch(rf"{pattern}(-preview)?(-[0-9-]+)?", model, re.ASCII)
    )
    return next(matching, _ANY)


def _common(models: Sequence[GeminiLimits]) -> GeminiLimits:
    """Returns what all models support."""

    def in_all(name: str) -> tuple[str, ...]:
        first, *others = (getattr(limits, name) for limits in models)
        return tuple(value for value in first if all(value in other for other in others))

    return GeminiLimits(
        aspect_ratios=in_all("aspect_ratios"),
        qualities=in_all("qualities"),
        max_input_images=min(limits.max_input_images for limits in models),
    )
