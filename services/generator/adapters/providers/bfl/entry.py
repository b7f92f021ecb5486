"""Provider-file entry of the kind `bfl`."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from calotype.size_limits import MAX_INPUT_IMAGES
from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.entry_fields import OutputFormat, Ratio, Strict
from services.generator.adapters.providers.option_rules import BOOLEAN, Rules, integer, number

#: `image` takes one image, `images` a list, `numbered_images` a field for each image: `NAME`, `NAME_2` and so on.
ImageField = Literal["image", "images", "numbered_images", "mask"]


class BFLSettings(Strict):
    """What the entry's models support. The defaults are those of FLUX.2 pro, max and flex; keys left out for other FLUX
    models are known by the model's name."""

    inputs: Mapping[ImageField, str] = {"numbered_images": "input_image"}
    """The model's field for input images and the mask: one of `image`, `images` and `numbered_images`, and `mask`."""
    aspect_ratios: tuple[Ratio, ...] = ()
    """Ratios that jobs may choose; if there are any, jobs choose no size."""
    min_side: int = Field(default=64, ge=1)
    """Shortest side in pixels."""
    max_side: int = Field(default=2048, ge=0)
    """Longest side in pixels; 0 if no size can be chosen. Above four megapixels the provider makes images smaller."""
    side_multiple: int = Field(default=16, ge=1)
    """Sides must be a multiple of this many pixels."""
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    """Formats that jobs may choose."""
    qualities: tuple[str, ...] = ()
    """Resolution classes that jobs may choose as quality, for models that have them."""
    seed: bool = True
    """Whether jobs may give a seed."""
    max_input_images: int = Field(default=8, ge=0, le=MAX_INPUT_IMAGES)
    """Most input images of a job."""
    prompt: bool = True
    """Whether the model reads the prompt; those that only change an input image do not."""

    @model_validator(mode="after")
    def _images_have_a_field(self) -> "BFLSettings":
        fields = [name for name in ("image", "images", "numbered_images") if name in self.inputs]
        if len(fields) > 1:
            raise ValueError("inputs names several fields for images: write one of image, images and numbered_images")
        if self.max_input_images and not fields:
            raise ValueError(
                f"max_input_images is {self.max_input_images}, but inputs names no field for them: write inputs.image "
                "(one image), inputs.images (a list) or inputs.numbered_images (NAME, NAME_2 ...)"
            )
        return self

    @property
    def is_sized(self) -> bool:
        """Whether jobs may choose width and height."""
        return self.max_side > 0 and not self.aspect_ratios


_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
_WITHOUT_SHAPE = {"max_side": 0, "max_input_images": 1}
#: Settings of models that differ from FLUX.2, by their name, first match. Sources: https://api.bfl.ai/openapi.json
#: and https://docs.bfl.ai/flux_3/flux3_image_generate
_FAMILIES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (
        r"flux-3-image.*",
        {
            "inputs": {"images": "images"},
            "max_input_images": 10,
            "aspect_ratios": (
                "21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "1:1", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2",
                "9:21",
            ),
            "qualities": ("768sq", "1k", "1.5k", "2k", "4k"),
            "output_formats": (),
            "seed": False,
        },
    ),
    (r"flux-2-klein-.*", {"max_input_images": 4}),
    (r"flux-kontext-.*", {"max_input_images": 4, "aspect_ratios": _RATIOS}),
    (
        r"flux-pro-1\.1-ultra.*",
        {"inputs": {"image": "image_prompt"}, "max_input_images": 1, "aspect_ratios": _RATIOS},
    ),
    (
        r"flux-pro-1\.1|flux-dev",
        {
            "inputs": {"image": "image_prompt"},
            "max_input_images": 1,
            "min_side": 256,
            "max_side": 1440,
            "side_multiple": 32,
        },
    ),
    (r"flux-pro-1\.0-fill.*", {"inputs": {"image": "image", "mask": "mask"}, **_WITHOUT_SHAPE}),
    (r"flux-pro-1\.0-expand", {"inputs": {"image": "image"}, **_WITHOUT_SHAPE}),
    (r"flux-tools/erase-v1", {"inputs": {"image": "image", "mask": "mask"}, "prompt": False, **_WITHOUT_SHAPE}),
    (
        r"flux-tools/outpainting-v1",
        {"inputs": {"image": "input_image"}, "max_input_images": 1, "seed": False, "side_multiple": 1},
    ),
)  # fmt: skip


class BFLEntry(RemoteEntry):
    """FLUX models at the API of Black Forest Labs."""

    kind: Literal["bfl"]
    """The kind of the provider."""
    harmless_options: ClassVar[Rules] = {
        "guidance": number(1.5, 10),
        "steps": integer(1, 50),
        "prompt_upsampling": BOOLEAN,
        "raw": BOOLEAN,
        "image_prompt_strength": number(0, 1),
        # By how many pixels `flux-pro-1.0-expand` and `outpainting-v1` enlarge an image.
        **{side: integer(0, 2048) for side in ("top", "bottom", "left", "right")},
    }
    settings: BFLSettings = BFLSettings()
    """Settings of the kind."""

    def settings_of(self, model: str) -> BFLSettings:
        """Returns the settings of the model's family, replaced key by key with those that the file has."""
        configured = super().settings_of(model)
        values = {name: getattr(configured, name) for name in configured.model_fields_set}
        return BFLSettings.model_validate({**_family(model), **values})

    @model_validator(mode="after")
    def _models_support_it(self) -> "BFLEntry":
        for model in dict.fromkeys([*(model.name for model in self.models), self.model]):
            family, configured = _family(model), super().settings_of(model)
            keys = configured.model_fields_set
            inputs, limit = family.get("inputs"), family.get("max_input_images")
            if configured.max_input_images and inputs is not None and "inputs" in keys and configured.inputs != inputs:
                listed = ", ".join(f"{key}: {field}" for key, field in inputs.items())
                raise ValueError(
                    f"{model} takes its images in another field: leave settings.inputs out, or write inputs: "
                    f"{{{listed}}}, or max_input_images: 0"
                )
            if limit is not None and "max_input_images" in keys and configured.max_input_images > limit:
                raise ValueError(f"{model} takes at most {limit} input images: write max_input_images: {limit}")
        return self


def _family(model: str) -> Mapping[str, Any]:
    return next((settings for pattern, settings in _FAMILIES if re.fullmatch(pattern, model)), {})
