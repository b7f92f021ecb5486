"""Masks as models want them: what is to be edited is transparent, or white where nothing is transparent."""

import io

from PIL import Image, ImageOps

from services.generator.adapters.decoding import decoded

_OPAQUE = (255, 255)


def edited(data: bytes) -> Image.Image:
    """How far each pixel is to be edited: 255 is wholly. Raises as `decoding.decoded`."""
    with decoded(data) as image:
        rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    return rgba.convert("L") if alpha.getextrema() == _OPAQUE else ImageOps.invert(alpha)


def white_where_edited(data: bytes) -> bytes:
    """The mask as a grey PNG: white is what is to be edited."""
    return _png(edited(data))


def readable_either_way(data: bytes) -> bytes:
    """The mask as a PNG that says the same by its transparency and by its colours, whichever is read."""
    grey = edited(data)
    return _png(Image.merge("RGBA", (grey, grey, grey, ImageOps.invert(grey))))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
