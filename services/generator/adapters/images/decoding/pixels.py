"""Decoding of images to pixels within limits; damage outside of the pixels is ignored.

Only for decoding processes (`child_main`), like `inspection`, `orientation` and `masks`.
"""

import io
import struct

from calotype.size_limits import MAX_PIXELS, MAX_SIDE
from PIL import Image

from services.generator.adapters.images.errors import not_an_image, too_many_pixels
from services.generator.domain.provider_results import StageError

#: Media types by Pillow's format names. MPO is a JPEG with further images after the first, as from phones and cameras.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
_OPENED = ("PNG", "JPEG", "WEBP")
#: PNG chunks that decoding needs; all others may be damaged.
_OF_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG = b"\x89PNG\r\n\x1a\n"
#: Rows that are compared at a time.
_STRIP = 64
_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
#: Two kinds of noise without a JPEG marker, which a decoder reads in place of missing pixels.
_NOISE = (bytes(range(1, 255)) * 16, bytes(range(254, 0, -1)) * 16)


def decoded(data: bytes) -> Image.Image:
    """Returns the decoded image. Raises `StageError` INVALID_IMAGE or TOO_LARGE, and `MemoryError`."""
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
        # Decoders may raise anything.
        raise not_an_image() from error
    raise not_an_image()


def _loaded_if_whole(data: bytes) -> Image.Image | None:
    """Returns the image; None for a damaged one, of which nothing stays in memory."""
    try:
        return _loaded(data)
    except (ValueError, SyntaxError, OSError):
        return None


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_OPENED)
    # The header has the size: checked before any pixel is decompressed.
    _refuse_bomb(image.width, image.height)
    image.load()
    return image


def _loaded_without_end(data: bytes) -> Image.Image:
    """Returns a JPEG that lacks only its end marker, as browsers show it. Raises `StageError` when pixels are missing.

    A decoder invents missing pixels from the bytes that follow. So pixels are missing if different noise after the data
    gives different images.
    """
    # Half of an end marker would combine with the next byte to another marker.
    data = data.rstrip(b"\xff")
    image = _loaded(data + _END_OF_JPEG)
    for noise in _NOISE:
        with _loaded(data + noise + _END_OF_JPEG) as other:
            if not _are_alike(image, other):
                raise not_an_image()
    return image


def _are_alike(first: Image.Image, second: Image.Image) -> bool:
    """Returns whether two images of equal size have the same pixels; compares strips, which take little memory."""
    strips = [(0, top, first.width, min(top + _STRIP, first.height)) for top in range(0, first.height, _STRIP)]
    return all(first.crop(strip).tobytes() == second.crop(strip).tobytes() for strip in strips)


def _bare(data: bytes) -> bytes:
    """Returns a PNG with its pixels only: no profile, no texts, no EXIF."""
    kept, offset = [_PNG], len(_PNG)
    while offset + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        end = offset + 12 + length
        if data[offset + 4 : offset + 8] in _OF_PIXELS:
            kept.append(data[offset:end])
        offset = end
    return b"".join(kept)


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise too_many_pixels()
