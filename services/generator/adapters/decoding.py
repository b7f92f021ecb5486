"""Encoded pictures to pixels, within bounds: damage beside the pixels is no reason to refuse them."""

import io
import struct

from PIL import Image

from services.generator.domain.outcomes import StageError

#: What Pillow calls them. MPO is a JPEG with further pictures behind the first, as phones and cameras write it.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
_OPENED = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 16_384
#: Chunks of a PNG that its pixels need; what else there is may be damaged.
_OF_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG = b"\x89PNG\r\n\x1a\n"


def decoded(data: bytes) -> Image.Image:
    """The picture with its pixels. Raises `StageError` INVALID_IMAGE or TOO_LARGE."""
    try:
        try:
            return _loaded(data)
        except (ValueError, SyntaxError, OSError):
            if not data.startswith(_PNG):
                raise
            return _loaded(_bare(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except StageError:
        raise
    except Exception as error:
        # Decoders raise whatever a byte brings them to.
        raise not_an_image() from error


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=_OPENED)
    # The header tells the size before a single pixel is unpacked.
    _refuse_bomb(image.width, image.height)
    image.load()
    return image


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
        raise _too_many_pixels()


def not_an_image() -> StageError:
    """What came is no picture that browsers show."""
    return StageError(
        code="PERMANENT",
        reason="INVALID_IMAGE",
        message="The provider returned something that is not a PNG, JPEG or WebP image that decodes.",
        retryable=False,
    )


def too_large(most_bytes: int) -> StageError:
    """What came has too many bytes."""
    return StageError(
        code="PERMANENT",
        reason="TOO_LARGE",
        message=f"The image is larger than {most_bytes // (1024 * 1024)} MiB.",
        retryable=False,
    )


def _too_many_pixels() -> StageError:
    return StageError(
        code="PERMANENT",
        reason="TOO_LARGE",
        message=f"The image has more than {MOST_PIXELS:,} pixels or a side over {LONGEST_SIDE:,}.",
        retryable=False,
    )
