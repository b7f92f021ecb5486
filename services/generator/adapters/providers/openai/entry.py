"""Provider-file entry of the kind `openai`, and what kinds with OpenAI's Images API share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Ratio, Size, Strict
from services.generator.adapters.providers.option_rules import Rules, one_of

OpenAIField = Literal[
    "prompt", "negative_prompt", "n", "seed", "size", "width", "height", "aspect_ratio", "quality", "output_format",
    "background", "output_compression", "moderation", "input_fidelity",
]  # fmt: skip
Background = Literal["transparent", "opaque", "auto"]
Moderation = Literal["auto", "low"]
InputFidelity = Literal["low", "high"]
#: Placeholder in `edits.item` for the image's data URI.
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
class ImagesAPILimits:
    """What models support if the file does not say; the defaults are those of an unknown server.

    Each attribute is named as its key in `OpenAISettings`.
    """

    sizes: tuple[str, ...] = ("1024x1024", "1536x1024", "1024x1536")
    """The only sizes, as WIDTHxHEIGHT; empty if sides are bounded instead, or no size can be chosen."""
    min_side: int = 0
    """Shortest side in pixels; 0 with `sizes`."""
    max_side: int = 0
    """Longest side in pixels; 0 with `sizes`."""
    side_multiple: int = 0
    """Sides must be a multiple of this many pixels; 0 with `sizes`."""
    max_ratio: float = 0.0
    """Longest side divided by shortest side at most; 0 is no bound."""
    qualities: tuple[str, ...] = ("low", "medium", "high", "auto")
    """Qualities that a job may choose."""
    backgrounds: tuple[str, ...] = ()
    """Backgrounds that a job may choose."""
    output_compression: bool = False
    """Whether a job may choose the compression."""
    moderations: tuple[str, ...] = ()
    """Moderation levels that a job may choose."""
    input_fidelities: tuple[str, ...] = ()
    """Input fidelities that a job may choose."""
    max_input_images: int = 8
    """Most input images of a job; 0: no edits."""


_FIXED = ImagesAPILimits(
    backgrounds=("transparent", "opaque", "auto"),
    output_compression=True,
    moderations=("auto", "low"),
    max_input_images=16,
)
#: An image has at least 655,360 pixels, so at the largest ratio (3:1) the shorter side is at least 480.
_FREE = replace(_FIXED, sizes=(), min_side=480, max_side=3840, side_multiple=16, max_ratio=3.0)
#: Limits by model name, first match. Source: https://developers.openai.com/api/reference/resources/images
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
    """How input images are sent."""

    body: Literal["multipart", "json"] = "multipart"
    """`multipart`: as files of a form; `json`: as data URIs in JSON."""
    path: str = Field(default="images/edits", pattern=_Path)
    """Path of the request with input images, after `base_url`."""
    field: str | None = Field(default=None, min_length=1, max_length=100)
    """Field of the images; left out, `image[]` in a form and `images` in JSON."""
    item: Any = Field(default={"image_url": IMAGE})
    """The form of one image in JSON; `{image}` becomes its data URI."""
    single: bool = False
    """Whether the field holds one image and not a list; needs `max_input_images: 1`."""
    mask: str | None = Field(default="mask", min_length=1, max_length=100)
    """Field of the mask; `null` if the models take none."""

    @model_validator(mode="after")
    def _item_has_the_image(self) -> "Edits":
        if not _holds_image(self.item):
            raise ValueError(f"item must contain {IMAGE}, where the image belongs")
        return self

    @property
    def name(self) -> str:
        """Name of the field of the images."""
        return self.field or ("images" if self.body == "json" else "image[]")


class OpenAISettings(Strict):
    """What the entry's models support. A key without a default is, left out, what all the entry's models support by
    OpenAI's reference."""

    inputs: Mapping[OpenAIField, str] = STANDARD_INPUTS
    """The server's name for each field of a request; a field that is not listed is not offered."""
    sizes: tuple[Size, ...] | None = None
    """The only sizes that jobs may choose; `[]` if none can be chosen. Excludes bounds of the sides."""
    min_side: int | None = Field(default=None, ge=1)
    """Shortest side in pixels, for any size within bounds."""
    max_side: int | None = Field(default=None, ge=1)
    """Longest side in pixels, for any size within bounds."""
    side_multiple: int | None = Field(default=None, ge=1)
    """Sides must be a multiple of this many pixels."""
    max_ratio: float | None = Field(default=None, ge=1)
    """The longer side is at most this many times the shorter one."""
    aspect_ratios: tuple[Ratio, ...] = ()
    """Ratios that jobs may choose, for servers with `inputs.aspect_ratio`."""
    qualities: tuple[str, ...] | None = None
    """Qualities that jobs may choose."""
    quality_fields: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict, max_length=64)
    """Fields to send for each quality in place of `inputs.quality`, for servers with several fields for it."""
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    """Formats that jobs may choose."""
    backgrounds: tuple[Background, ...] | None = None
    """Backgrounds that jobs may choose."""
    output_compression: bool | None = None
    """Whether jobs may choose the compression."""
    moderations: tuple[Moderation, ...] | None = None
    """Moderation levels that jobs may choose."""
    input_fidelities: tuple[InputFidelity, ...] | None = None
    """Input fidelities that jobs may choose."""
    max_images_per_call: int = Field(default=10, ge=1, le=10)
    """Most images of one call; a job of more images is several calls."""
    max_input_images: int | None = Field(default=None, ge=0, le=16)
    """Most input images of a job; 0: no edits."""
    path: str = Field(default="images/generations", pattern=_Path)
    """Path of the request without input images, after `base_url`."""
    edits: Edits = Edits()
    """How input images are sent."""
    response_format: Literal["b64_json", "base64", "url"] | None = None
    """Value of the field `response_format`; left out, the field is not sent, because the GPT image models refuse it."""

    @model_validator(mode="after")
    def _fits_together(self) -> "OpenAISettings":
        inputs = self.inputs
        sides = {"width", "height"} & set(inputs)
        if "prompt" not in inputs:
            raise ValueError("inputs must name the field prompt")
        if len(sides) == 1 or (sides and "size" in inputs):
            raise ValueError("inputs must name size, or width and height together")
        if bool(self.aspect_ratios) != ("aspect_ratio" in inputs):
            raise ValueError("aspect_ratios and inputs.aspect_ratio need each other")
        if self.max_images_per_call > 1 and "n" not in inputs:
            raise ValueError("max_images_per_call over 1 needs inputs.n")
        if self.sizes and (self.min_side or self.max_side or self.side_multiple or self.max_ratio):
            raise ValueError("sizes excludes min_side, max_side, side_multiple and max_ratio")
        if self.quality_fields and set(self.quality_fields) != set(self.qualities or ()):
            raise ValueError("quality_fields must name exactly the qualities")
        if self.edits.single and (self.max_input_images is None or self.max_input_images > 1):
            raise ValueError("edits.single needs max_input_images: 1")
        return self


class ImagesAPIEntry(RemoteEntry):
    """An entry whose server has OpenAI's Images API."""

    knows_prices: ClassVar[bool] = True
    harmless_options: ClassVar[Rules] = {"style": one_of("vivid", "natural")}
    settings: OpenAISettings = OpenAISettings()
    """Settings of the kind."""

    @model_validator(mode="after")
    def _max_side_is_known(self) -> "ImagesAPIEntry":
        limits = self.limits
        if not limits.sizes and not limits.max_side and (limits.min_side or limits.side_multiple or limits.max_ratio):
            raise ValueError("settings.max_side is required with min_side, side_multiple and max_ratio")
        return self

    @property
    def limits(self) -> ImagesAPILimits:
        """What every model of the entry supports: the settings, else OpenAI's reference."""
        settings = self.settings
        common = _common([_limits_of(name) for name in sorted({self.model, *(model.name for model in self.models)})])
        bounds = (settings.min_side, settings.max_side, settings.side_multiple, settings.max_ratio)
        if settings.sizes is not None:
            common = replace(common, min_side=0, max_side=0, side_multiple=0, max_ratio=0.0)
        elif any(bounds):
            common = replace(common, sizes=(), min_side=common.min_side or 1, side_multiple=common.side_multiple or 1)
        configured = {field.name: getattr(settings, field.name) for field in fields(ImagesAPILimits)}
        return replace(common, **{name: value for name, value in configured.items() if value is not None})


class OpenAIEntry(ImagesAPIEntry):
    """OpenAI, or any server with its Images API."""

    kind: Literal["openai"]
    """The kind of the provider."""


def _limits_of(model: str) -> ImagesAPILimits:
    """Returns the limits of a model, also of a dated version of it."""
    dated = r"(-\d{4}-\d\d-\d\d)?"
    matching = (limits for pattern, limits in _MODELS if re.fullmatch(f"({pattern}){dated}", model, re.ASCII))
    return next(matching, ImagesAPILimits())


def _common(models: Sequence[ImagesAPILimits]) -> ImagesAPILimits:
    """Returns what all models support. Listed sizes lie within the bounds of the models that list none."""
    listing = [limits for limits in models if limits.sizes] or list(models)

    def in_all(name: str, of: Sequence[ImagesAPILimits] = models) -> tuple[str, ...]:
        return tuple(value for value in getattr(of[0], name) if all(value in getattr(limits, name) for limits in of))

    return replace(
        listing[0],
        sizes=in_all("sizes", listing),
        qualities=in_all("qualities"),
        backgrounds=in_all("backgrounds"),
        output_compression=all(limits.output_compression for limits in models),
        moderations=in_all("moderations"),
        input_fidelities=in_all("input_fidelities"),
        max_input_images=min(limits.max_input_images for limits in models),
    )
