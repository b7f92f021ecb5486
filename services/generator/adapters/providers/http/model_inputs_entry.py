"""What entries say of models whose inputs have names of their own, whichever vendor runs them."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from services.generator.adapters.providers.entry import OutputFormat, Ratio, Size, Strict

#: `image` takes one picture, `images` a list of them. `mask` is white where the picture is to be edited, `black_mask`
#: black.
InputField = Literal[
    "prompt",
    "negative_prompt",
    "n",
    "seed",
    "size",
    "aspect_ratio",
    "width",
    "height",
    "output_format",
    "quality",
    "image",
    "images",
    "mask",
    "black_mask",
]
MOST_INPUT_IMAGES = 16


class ModelInputs(Strict):
    """What the models of an entry take: the input that each field of a request goes into, and its legal values."""

    #: Each kind says what they are called where the file does not say.
    inputs: Mapping[InputField, str]
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    aspect_ratios: tuple[Ratio, ...] = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    qualities: tuple[str, ...] = ()
    min_side: int = Field(default=256, ge=1)
    max_side: int = Field(default=1440, ge=1)
    side_multiple: int = Field(default=16, ge=1)
    #: The name of each size, for models that take no other; without names, any size within the limits is sent.
    size_names: Mapping[Size, str] = Field(default_factory=dict, max_length=64)
    max_input_images: int = Field(default=0, ge=0, le=MOST_INPUT_IMAGES)

    @model_validator(mode="after")
    def _pictures_have_an_input(self) -> "ModelInputs":
        one, several = "image" in self.inputs, "images" in self.inputs
        if one and several:
            raise ValueError("inputs names image and images: write image for a model that takes one, images for a list")
        if self.max_input_images and not (one or several):
            raise ValueError(
                f"max_input_images is {self.max_input_images}, but inputs names no input for them: "
                "write inputs.image (one picture) or inputs.images (a list)"
            )
        if (one or several) and not self.max_input_images:
            raise ValueError(
                "inputs names an input for pictures: write max_input_images, the most that the model takes"
            )
        if one and self.max_input_images > 1:
            raise ValueError("inputs.image takes one picture: write max_input_images: 1, or inputs.images for a list")
        if self.takes_mask and not self.max_input_images:
            raise ValueError("a mask is of a picture: write inputs.image or inputs.images as well")
        if "mask" in self.inputs and "black_mask" in self.inputs:
            raise ValueError(
                "inputs names mask and black_mask: write mask if the model edits what is white, else black_mask"
            )
        return self

    @property
    def takes_mask(self) -> bool:
        """Whether a job may bring a mask."""
        return "mask" in self.inputs or "black_mask" in self.inputs
