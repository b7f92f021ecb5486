"""Conversion of masks: transparent pixels are to be edited, or white ones in a mask without transparency."""

import io

from PIL import Image, ImageOps

from services.generator.adapters.images.decoding.pixels import decoded
from services.generator.domain.jobs import MaskForm

_OPAQUE = (255, 255)


def edited(data: bytes) -> Image.Image:
    """Returns a grey image of how much each pixel is to be edited, 255: fully. Raises as `pixels.decoded`."""
    with decoded(data) as image:
        rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    return rgba.convert("L") if alpha.getextrema() == _OPAQUE else ImageOps.invert(alpha)


def converted(data: bytes, form: MaskForm) -> bytes:
    """Returns the mask in the wanted form, as a PNG. Raises as `pixels.decoded`."""
    grey = edited(data)
    file = io.BytesIO()
    _in_form(grey, form).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _in_form(grey: Image.Image, form: MaskForm) -> Image.Image:
    match form:
        case MaskForm.WHITE:
            return grey
        case MaskForm.BLACK:
            return ImageOps.invert(grey)
        case MaskForm.TWO_WAY:
            return Image.merge("RGBA", (grey, grey, grey, ImageOps.invert(grey)))
