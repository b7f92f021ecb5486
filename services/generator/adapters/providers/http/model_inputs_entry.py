"""Settings of kinds whose models name their inputs differently (fal, Replicate)."""

from collections.abc import Mapping
from typing import Literal

from calotype.size_limits import MAX_INPUT_IMAGES
from pydantic import Field, model_validator

from services.generator.adapters.providers.entry_fields import OutputFormat, Ratio, Size, Strict

#: Our names of a model's inputs. `image` takes one image, `images` a list. A `mask` is white in the area to edit, a
#: `black_mask` black.
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


class ModelInputs(Strict):
    """The models' names for the fields of a request, and the values that each field may have."""

    inputs: Mapping[InputField, str]
    """The model's name for each field of a request; a field that is not listed is not offered."""
    max_images_per_call: int = Field(default=1, ge=1, le=10)
    """Most images of one call; more than 1 is sent in `inputs.n`."""
    aspect_ratios: tuple[Ratio, ...] = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
    """Ratios that jobs may choose, with `inputs.aspect_ratio`."""
    output_formats: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
    """Formats that jobs may choose, with `inputs.output_format`."""
    qualities: tuple[str, ...] = ()
    """Qualities that jobs may choose, by the model's names, with `inputs.quality`."""
    min_side: int = Field(default=256, ge=1)
    """Shortest side in pixels, with `inputs.size`, or `inputs.width` and `inputs.height`."""
    max_side: int = Field(default=1440, ge=1)
    """Longest side in pixels."""
    side_multiple: int = Field(default=16, ge=1)
    """Sides must be a multiple of this many pixels."""
    size_names: Mapping[Size, str] = Field(default_factory=dict, max_length=64)
    """The model's name for each size, for models that take no others; empty, any size within the bounds is sent as
    WIDTHxHEIGHT."""
    max_input_images: int = Field(default=0, ge=0, le=MAX_INPUT_IMAGES)
    """Most input images of a job; over 0 needs `inputs.image` or `inputs.images`."""

    @model_validator(mode="after")
    def _images_have_an_input(self) -> "ModelInputs":
        item, several = "image" in self.inputs, "images" in self.inputs
        if item and several:
            raise ValueError("inputs names image and images: write image for a model that takes one, images for a list")
        if self.max_input_images and not (item or several):
            raise ValueError(
                f"max_input_images is {self.max_input_images}, but inputs names no input for them: "
                "write inputs.image (one image) or inputs.images (a list)"
            )
        if (item or several) and not self.max_input_images:
            raise ValueError("inputs names an input for images: write max_input_images, the most that the model takes")
        if item and self.max_input_images > 1:
            raise ValueError("inputs.image takes one image: write max_input_images: 1, or inputs.images for a list")
        if self.accepts_mask and not self.max_input_images:
            raise ValueError("a mask needs an image: write inputs.image or inputs.images as well")
        if "mask" in self.inputs and "black_mask" in self.inputs:
            raise ValueError(
                "inputs names mask and black_mask: write mask if the model edits the white area, else black_mask"
            )
        return self

    @property
    def accepts_mask(self) -> bool:
        """Whether a job may have a mask."""
        return "mask" in self.inputs or "black_mask" in self.inputs
