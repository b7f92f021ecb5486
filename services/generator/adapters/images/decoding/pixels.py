"""Encoded images to pixels, within bounds: damage beside the pixels is no reason to refuse them.

For child processes alone (`decoding_child`), as are `inspection`, `orientation` and `masks`.
"""

import io
import struct

from PIL import Image

from services.generator.adapters.images.errors import LONGEST_SIDE, MOST_PIXELS, not_an_image, too_many_pixels
from services.generator.domain.provider_results import StageError

#: What Pillow calls them. MPO is a JPEG with further images behind the first, as phones and cameras write it.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
_OPENED = ("PNG", "JPEG", "WEBP")
#: Chunks of a PNG that its pixels need; what else there is may be damaged.
_OF_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG = b"\x89PNG\r\n\x1a\n"
#: Rows that are compared at once.
_STRIP = 64
_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
#: What a decoder would read in place of pixels that are missing: two kinds of noise, without a marker in it.
_NOISE = (bytes(range(1, 255)) * 16, bytes(range(254, 0, -1)) * 16)


def decoded(data: bytes) -> Image.Image:
    """The image with its pixels. Raises `StageError` INVALID_IMAGE or TOO_LARGE, and `MemoryError`."""
    try:
        if (image := _loaded_if_whole(data)) is not None:
            return image
        if data.startswith(_JPEG):
            return _loaded_without_end(data)
        if data.startswith(_PNG):
            return _loaded(_bare(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_many_pixels() from error
    except (StageError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise whatever a byte brings them to.
        raise not_an_image() from error
    raise not_an_image()


def _loaded_if_whole(data: bytes) -> Image.Image | None:
    """The image, or None where something of it is damaged; nothing of it is in memory then."""
    try:
        return _loaded(data)
    except (ValueError, SyntaxError, OSError):
        return None


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_OPENED)
    # The header tells the size before a single pixel is unpacked.
    _refuse_bomb(image.width, image.height)
    image.load()
    return image


def _loaded_without_end(data: bytes) -> Image.Image:
    """A JPEG that only lacks its end, as browsers show it. Raises `StageError` where pixels are missing, too.

    A decoder makes something up for pixels that are missing: these follow from whatever comes in their place.
    """
    # Half of the mark of its end would make a mark of what comes after it.
    data = data.rstrip(b"\xff")
    image = _loaded(data + _END_OF_JPEG)
    for noise in _NOISE:
        with _loaded(data + noise + _END_OF_JPEG) as other:
            if not _are_alike(image, other):
                raise not_an_image()
    return image


def _are_alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two images of one size have the same pixels; looked at in strips, which take little memory."""
    strips = [(0, top, one.width, min(top + _STRIP, one.height)) for top in range(0, one.height, _STRIP)]
    return all(one.crop(strip).tobytes() == other.crop(strip).tobytes() for strip in strips)


def _bare(data: bytes) -> bytes:
    """A PNG with its pixels alone: no profile, no texts, no EXIF."""
    kept, place = [_PNG], len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if data[place + 4 : place + 8] in _OF_PIXELS:
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise too_many_pixels()
