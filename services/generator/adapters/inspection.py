"""What an encoded image is: by its bytes, within bounds, off the event loop."""

import asyncio
import hashlib
import io
import struct
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import blurhash
from PIL import Image, ImageOps, UnidentifiedImageError

from services.generator.domain.outcomes import StageError
from services.generator.ports import Inspected

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 16_384
#: Marks of a C2PA manifest: a JUMBF box in JPEG's APP11 or PNG's caBX, or a RIFF chunk of WebP.
_C2PA = (b"caBX", b"jumbc2pa", b"C2PA")
BLURHASH_COMPONENTS = (4, 3)
_THUMBNAIL = 32


async def inspect(data: bytes, *, executor: Executor | None = None) -> Inspected:
    """Decode and measure. Raises `StageError` INVALID_IMAGE or TOO_LARGE."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, _inspect, data)


def _inspect(data: bytes) -> Inspected:
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            # The header tells the size before a single pixel is unpacked.
            _refuse_bomb(image.width, image.height)
            image.load()
            return Inspected(
                content_type=FORMATS[image.format or ""],
                width=image.width,
                height=image.height,
                sha256=hashlib.sha256(data).hexdigest(),
                blurhash=_blurhash(image),
                c2pa=any(mark in data for mark in _C2PA),
            )
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels() from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        raise not_an_image() from error


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise _too_many_pixels()


def _blurhash(image: Image.Image) -> str:
    # Small first: everything after that is cheap, whatever the picture's size.
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    rgba = ImageOps.exif_transpose(image).convert("RGBA")
    # Transparency shows what is behind it: white, as on a page.
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    pixels: list[Any] = list(flat.get_flattened_data()) if hasattr(flat, "get_flattened_data") else list(flat.getdata())
    rows = [pixels[start : start + flat.width] for start in range(0, len(pixels), flat.width)]
    encode: Callable[..., str] = blurhash.encode
    return encode(rows, *BLURHASH_COMPONENTS)


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
