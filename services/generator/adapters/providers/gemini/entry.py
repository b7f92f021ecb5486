"""Entries of the kind `gemini`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

from pydantic import Field

from services.generator.adapters.providers.entry import Ratio, RemoteEntry, Strict
from services.generator.adapters.providers.option_rules import Rules, integer, number


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What models take where the file does not say; the first values are those of every image model."""

    aspect_ratios: tuple[str, ...] = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
    qualities: tuple[str, ...] = ()
    max_input_images: int = 8


_ANY = Takes()
_PRO = replace(_ANY, qualities=("1K", "2K", "4K"), max_input_images=14)
_WIDE = replace(_PRO, aspect_ratios=(*_ANY.aspect_ratios, "1:4", "4:1", "1:8", "8:1"))
#: By the vendor's reference, https://ai.google.dev/gemini-api/docs/image-generation
_MODELS = (
    (r"gemini-3-pro-image", _PRO),
    (r"gemini-3\.1-flash-image", replace(_WIDE, qualities=("512", "1K", "2K", "4K"))),
    (r"gemini-nano-banana-2\.[0-9]+", _WIDE),
)


class GeminiSettings(Strict):
    """What the models of the entry take; where nothing is said, what all of them do by the vendor's reference."""

    aspect_ratios: tuple[Ratio, ...] | None = None
    #: The vendor's image sizes, such as 1K, 2K and 4K, for models that let it be chosen.
    qualities: tuple[str, ...] | None = None
    #: Whether the model makes the same image of the same seed again.
    seed: bool = False
    max_input_images: int | None = Field(default=None, ge=0, le=14)


class GeminiEntry(RemoteEntry):
    """Models that answer `generateContent` with images."""

    kind: Literal["gemini"]
    harmless_options: ClassVar[Rules] = {
        "generationConfig.temperature": number(0, 2),
        "generationConfig.topP": number(0, 1),
        "generationConfig.topK": integer(1, 1000),
    }
    knows_prices: ClassVar[bool] = True
    settings: GeminiSettings = GeminiSettings()

    @property
    def takes(self) -> Takes:
        """What every model of the entry takes, as the file says or, where it does not, the vendor's reference."""
        common = _common([_known(name) for name in sorted({self.model, *(one.name for one in self.models)})])
        said = {one.name: getattr(self.settings, one.name) for one in fields(Takes)}
        return replace(common, **{name: value for name, value in said.items() if value is not None})


def _known(name: str) -> Takes:
    """What a model takes, in a version of it too."""
    known = (takes for pattern, takes in _MODELS if re.fullmatch(rf"{pattern}(-preview)?(-[0-9-]+)?", name, re.ASCII))
    return next(known, _ANY)


def _common(found: Sequence[Takes]) -> Takes:
    def in_all(name: str) -> tuple[str, ...]:
        return tuple(value for value in getattr(found[0], name) if all(value in getattr(one, name) for one in found))

    return Takes(
        aspect_ratios=in_all("aspect_ratios"),
        qualities=in_all("qualities"),
        max_input_images=min(one.max_input_images for one in found),
    )
