"""Entries of the kind `bfl`."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import OutputFormat, Ratio, RemoteEntry, Strict
from services.generator.adapters.providers.option_rules import BOOLEAN, Rules, integer, number

#: `image` takes one picture, `images` a list, `numbered_images` each by its own field: `NAME`, `NAME_2` and so on.
PictureField = Literal["image", "images", "numbered_images", "mask"]
MOST_INPUT_IMAGES = 16


class BFLSettings(Strict):
    """What the models of the entry take; the first values are those of FLUX.2 pro, max and flex."""

    #: The field that each kind of picture goes into.
    inputs: Mapping[PictureField, str] = {"numbered_images": "input_image"}
    #: Where any is named, the models take a ratio, and no sides.
    aspect_ratios: tuple[Ratio, ...] = ()
    min_side: int = Field(default=64, ge=1)
    #: No picture of two such sides is over the four megapixels beyond which the vendor makes it smaller. 0: no sides.
    max_side: int = Field(default=2048, ge=0)
    side_multiple: int = Field(default=16, ge=1)
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    #: The vendor's resolution classes, for models that have them.
    qualities: tuple[str, ...] = ()
    seed: bool = True
    max_input_images: int = Field(default=8, ge=0, le=MOST_INPUT_IMAGES)
    #: Whether the model reads words; those that only work on a picture do not.
    prompt: bool = True

    @model_validator(mode="after")
    def _pictures_have_a_field(self) -> "BFLSettings":
        places = [name for name in ("image", "images", "numbered_images") if name in self.inputs]
        if len(places) > 1:
            raise ValueError("inputs names several fields for pictures: write one of image, images and numbered_images")
        if self.max_input_images and not places:
            raise ValueError(
                f"max_input_images is {self.max_input_images}, but inputs names no field for them: write inputs.image "
                "(one picture), inputs.images (a list) or inputs.numbered_images (NAME, NAME_2 ...)"
            )
        return self

    @property
    def is_sized(self) -> bool:
        """Whether width and height can be chosen."""
        return self.max_side > 0 and not self.aspect_ratios


_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
_WITHOUT_SHAPE = {"max_side": 0, "max_input_images": 1}
#: What models take otherwise than FLUX.2, by their names; the first that fits. https://api.bfl.ai/openapi.json and
#: https://docs.bfl.ai/flux_3/flux3_image_generate
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
    """The API of Black Forest Labs."""

    kind: Literal["bfl"]
    harmless_options: ClassVar[Rules] = {
        "guidance": number(1.5, 10),
        "steps": integer(1, 50),
        "prompt_upsampling": BOOLEAN,
        "raw": BOOLEAN,
        "image_prompt_strength": number(0, 1),
        # How far `flux-pro-1.0-expand` and `outpainting-v1` grow a picture, in pixels.
        **{side: integer(0, 2048) for side in ("top", "bottom", "left", "right")},
    }
    settings: BFLSettings = BFLSettings()

    def settings_of(self, model: str) -> BFLSettings:
        """What a model takes by its name, and on top of it what the file says."""
        said = super().settings_of(model)
        given = {name: getattr(said, name) for name in said.model_fields_set}
        return BFLSettings.model_validate({**_family(model), **given})

    @model_validator(mode="after")
    def _models_take_it(self) -> "BFLEntry":
        for model in dict.fromkeys([*(one.name for one in self.models), self.model]):
            family, said = _family(model), super().settings_of(model)
            inputs, most = family.get("inputs"), family.get("max_input_images")
            if (
                said.max_input_images
                and inputs is not None
                and said.inputs != inputs
                and "inputs" in said.model_fields_set
            ):
                named = ", ".join(f"{place}: {field}" for place, field in inputs.items())
                raise ValueError(
                    f"{model} takes its pictures otherwise: leave settings.inputs out, or write inputs: {{{named}}}, "
                    f"or max_input_images: 0"
                )
            if most is not None and "max_input_images" in said.model_fields_set and said.max_input_images > most:
                raise ValueError(f"{model} takes at most {most} input images: write max_input_images: {most}")
        return self


def _family(model: str) -> Mapping[str, Any]:
    return next((taken for name, taken in _FAMILIES if re.fullmatch(name, model)), {})
