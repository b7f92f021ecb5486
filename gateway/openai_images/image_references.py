"""Edits with a JSON body: images are named by their addresses, or contained in them as data URLs."""

import re
from typing import Annotated, Any

from calotype.size_limits import MAX_INPUT_BYTES, MAX_INPUT_IMAGES, MAX_URL_CHARACTERS
from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from gateway.openai_images.schemas import ImageParameters
from gateway.schemas.requests import Body, InputImage, decoded_image, refuse_heavy, refused, web_address

_DATA = "data:"
#: Everything before the comma of a data URL.
_HEAD = re.compile(r"data:image/[a-z0-9][a-z0-9.+-]{0,62};base64")
#: An http or https URL without user name and password, or a data URL.
_ADDRESS = r"^([hH][tT][tT][pP][sS]?://[^\s/?#@]+([/?#]\S*)?|data:image/[a-z0-9][a-z0-9.+-]{0,62};base64,[A-Za-z0-9+/]+={0,2})$"
#: Characters of the longest data URL: base64 has four for three bytes, and the media type stands before it.
MAX_CHARACTERS = (MAX_INPUT_BYTES + 2) // 3 * 4 + 100


def _image(address: Any) -> InputImage:
    if not isinstance(address, str):
        raise refused("Must be a string.")
    if not address.startswith(_DATA):
        if len(address) > MAX_URL_CHARACTERS:
            raise refused(f"An address must have at most {MAX_URL_CHARACTERS:,} characters.")
        return InputImage.model_construct(url=web_address(address), data=None, content_type=None)
    head, _, data = address.partition(",")
    if not _HEAD.fullmatch(head):
        raise refused("Write a data URL as data:image/png;base64,DATA.")
    # The generator reads the type of the image from its bytes.
    return InputImage.model_construct(url=None, data=decoded_image(data), content_type=None)


def _no_file(file_id: Any) -> None:
    if file_id is not None:
        raise refused("Files cannot be uploaded here; send image_url.")


class ImageReference(Body):
    """An image to start from, as OpenAI's JSON requests name it."""

    image_url: Annotated[
        InputImage,
        BeforeValidator(_image),
        WithJsonSchema({"type": "string", "maxLength": MAX_CHARACTERS, "pattern": _ADDRESS}),
    ]
    """Public http or https address of the image, or a data URL, `data:image/png;base64,DATA`."""
    file_id: Annotated[None, BeforeValidator(_no_file)] = None
    """Not supported; must be null or left out."""


class EditParameters(ImageParameters):
    """A JSON body of `POST /v1/images/edits`: the parameters of an image call, and the images to start from."""

    images: Annotated[list[ImageReference], Field(min_length=1, max_length=MAX_INPUT_IMAGES)]
    """Images to start from, 1 to 16; at most 20 MiB each, and 40 MiB together with the mask."""
    mask: ImageReference | None = None
    """Mask: its transparent pixels are edited, or its white ones if none is transparent."""

    @field_validator("images")
    @classmethod
    def _bound_images(cls, images: list[ImageReference]) -> list[ImageReference]:
        refuse_heavy([image.image_url for image in images])
        return images

    @field_validator("mask")
    @classmethod
    def _bound_images_with_mask(cls, mask: ImageReference | None, info: ValidationInfo) -> ImageReference | None:
        if mask is not None:
            refuse_heavy([mask.image_url, *(image.image_url for image in info.data.get("images", ()))])
        return mask
