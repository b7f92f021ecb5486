"""Entries of the kind `openai`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import OutputFormat, Ratio, RemoteEntry, Size, Strict
from services.generator.adapters.providers.option_rules import Rules, one_of

OpenAIField = Literal[
    "prompt", "negative_prompt", "n", "seed", "size", "width", "height", "aspect_ratio", "quality", "output_format",
    "background", "output_compression", "moderation", "input_fidelity",
]  # fmt: skip
Background = Literal["transparent", "opaque", "auto"]
Moderation = Literal["auto", "low"]
InputFidelity = Literal["low", "high"]
#: Stands for an image's data URI in `edits.item`.
IMAGE = "{image}"
_Path = r"^[A-Za-z0-9][A-Za-z0-9_/-]{0,99}$"

STANDARD_INPUTS: Mapping[OpenAIField, str] = {
    "prompt": "prompt",
    "n": "n",
    "size": "size",
    "quality": "quality",
    "output_format": "output_format",
    "background": "background",
    "output_compression": "output_compression",
    "moderation": "moderation",
    "input_fidelity": "input_fidelity",
}


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What models take where the file does not say; the first values are those of any server."""

    sizes: tuple[str, ...] = ("1024x1024", "1536x1024", "1024x1536")
    min_side: int = 0
    max_side: int = 0
    side_multiple: int = 0
    max_ratio: float = 0.0
    qualities: tuple[str, ...] = ("low", "medium", "high", "auto")
    backgrounds: tuple[str, ...] = ()
    output_compression: bool = False
    moderations: tuple[str, ...] = ()
    input_fidelities: tuple[str, ...] = ()
    max_input_images: int = 8


_FIXED = Takes(
    backgrounds=("transparent", "opaque", "auto"),
    output_compression=True,
    moderations=("auto", "low"),
    max_input_images=16,
)
#: 655,360 pixels at least make the shorter side of three to one 480.
_FREE = replace(_FIXED, sizes=(), min_side=480, max_side=3840, side_multiple=16, max_ratio=3.0)
#: By the vendor's reference, https://developers.openai.com/api/reference/resources/images
_MODELS = (
    (r"gpt-image-1-mini", _FIXED),
    (r"gpt-image-1\.5|chatgpt-image-latest", replace(_FIXED, input_fidelities=("low", "high"))),
    (r"gpt-image-2", replace(_FREE, backgrounds=("opaque", "auto"))),
    (
        r"gpt-image-2\.[0-9]+(-[a-z]+)?",
        replace(_FREE, qualities=("low", "medium", "high", "xhigh", "max", "auto")),
    ),
)


def _holds_image(shape: Any) -> bool:
    return any(map(_holds_image, shape.values())) if isinstance(shape, dict) else bool(shape == IMAGE)


class Edits(Strict):
    """How input images are sent: as a form, or in JSON as data URIs."""

    body: Literal["multipart", "json"] = "multipart"
    path: str = Field(default="images/edits", pattern=_Path)
    #: The field of the images; left out, `image[]` of a form and `images` of JSON.
    field: str | None = Field(default=None, min_length=1, max_length=100)
    #: How JSON has one image; `{image}` is its data URI.
    item: Any = Field(default={"image_url": IMAGE})
    #: The field has one image in place of a list.
    single: bool = False
    #: The field of the mask; null where none is taken.
    mask: str | None = Field(default="mask", min_length=1, max_length=100)

    @model_validator(mode="after")
    def _item_has_the_image(self) -> "Edits":
        if not _holds_image(self.item):
            raise ValueError(f"item: {IMAGE} must stand in it, where the image belongs")
        return self

    @property
    def name(self) -> str:
        """The field of the images."""
        return self.field or ("images" if self.body == "json" else "image[]")


class OpenAISettings(Strict):
    """What the models of the entry take; where nothing is said, what all of them do by the vendor's reference."""

    #: Each field of a request that is sent, and what it is called. One that is not there is not offered.
    inputs: Mapping[OpenAIField, str] = STANDARD_INPUTS
    sizes: tuple[Size, ...] | None = None
    min_side: int | None = Field(default=None, ge=1)
    max_side: int | None = Field(default=None, ge=1)
    side_multiple: int | None = Field(default=None, ge=1)
    #: The longer side may be so many times the shorter one.
    max_ratio: float | None = Field(default=None, ge=1)
    aspect_ratios: tuple[Ratio, ...] = ()
    qualities: tuple[str, ...] | None = None
    #: For servers that have several fields for it: what each quality is sent as, in place of `inputs.quality`.
    quality_fields: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict, max_length=64)
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    backgrounds: tuple[Background, ...] | None = None
    output_compression: bool | None = None
    moderations: tuple[Moderation, ...] | None = None
    input_fidelities: tuple[InputFidelity, ...] | None = None
    max_images_per_call: int = Field(default=10, ge=1, le=10)
    max_input_images: int | None = Field(default=None, ge=0, le=16)
    path: str = Field(default="images/generations", pattern=_Path)
    edits: Edits = Edits()
    #: Sent only where it is set: some models answer with base64 always, and refuse the field.
    response_format: Literal["b64_json", "base64", "url"] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "OpenAISettings":
        inputs = self.inputs
        sides = {"width", "height"} & set(inputs)
        if "prompt" not in inputs:
            raise ValueError("inputs: prompt must be there")
        if len(sides) == 1 or (sides and "size" in inputs):
            raise ValueError("inputs: size, or width and height together")
        if bool(self.aspect_ratios) != ("aspect_ratio" in inputs):
            raise ValueError("aspect_ratios and inputs.aspect_ratio need each other")
        if self.max_images_per_call > 1 and "n" not in inputs:
            raise ValueError("max_images_per_call: over 1 needs inputs.n")
        if self.sizes and (self.min_side or self.max_side or self.side_multiple or self.max_ratio):
            raise ValueError("sizes: list them, or bound the sides")
        if self.quality_fields and set(self.quality_fields) != set(self.qualities or ()):
            raise ValueError("quality_fields: name exactly the qualities")
        if self.edits.single and (self.max_input_images is None or self.max_input_images > 1):
            raise ValueError("edits.single: needs max_input_images: 1")
        return self


class ImagesAPIEntry(RemoteEntry):
    """What every entry says whose server has OpenAI's Images API."""

    knows_prices: ClassVar[bool] = True
    harmless_options: ClassVar[Rules] = {"style": one_of("vivid", "natural")}
    settings: OpenAISettings = OpenAISettings()

    @model_validator(mode="after")
    def _size_can_be_told(self) -> "ImagesAPIEntry":
        takes = self.takes
        if not takes.sizes and not takes.max_side and (takes.min_side or takes.side_multiple or takes.max_ratio):
            raise ValueError("settings.max_side: name it with the other bounds of a side")
        return self

    @property
    def takes(self) -> Takes:
        """What every model of the entry takes, as the file says or, where it does not, the vendor's reference."""
        settings = self.settings
        common = _common([_known(name) for name in sorted({self.model, *(one.name for one in self.models)})])
        bounds = (settings.min_side, settings.max_side, settings.side_multiple, settings.max_ratio)
        if settings.sizes is not None:
            common = replace(common, min_side=0, max_side=0, side_multiple=0, max_ratio=0.0)
        elif any(bounds):
            common = replace(common, sizes=(), min_side=common.min_side or 1, side_multiple=common.side_multiple or 1)
        said = {one.name: getattr(settings, one.name) for one in fields(Takes)}
        return replace(common, **{name: value for name, value in said.items() if value is not None})


class OpenAIEntry(ImagesAPIEntry):
    """OpenAI itself, or any server of its shape."""

    kind: Literal["openai"]


def _known(name: str) -> Takes:
    """What a model takes; the date of its version says nothing."""
    known = (takes for pattern, takes in _MODELS if re.fullmatch(rf"({pattern})(-\d{{4}}-\d\d-\d\d)?", name, re.ASCII))
    return next(known, Takes())


def _common(found: Sequence[Takes]) -> Takes:
    """What all of them take. Sizes that one of them lists are within the bounds of those that list none."""
    listing = [one for one in found if one.sizes] or list(found)

    def in_all(name: str, of: Sequence[Takes] = found) -> tuple[str, ...]:
        return tuple(value for value in getattr(of[0], name) if all(value in getattr(one, name) for one in of))

    return replace(
        listing[0],
        sizes=in_all("sizes", listing),
        qualities=in_all("qualities"),
        backgrounds=in_all("backgrounds"),
        output_compression=all(one.output_compression for one in found),
        moderations=in_all("moderations"),
        input_fidelities=in_all("input_fidelities"),
        max_input_images=min(one.max_input_images for one in found),
    )
