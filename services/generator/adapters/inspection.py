"""What an encoded image is: by its bytes, within bounds, off the event loop."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import blurhash
from PIL import Image

from common.logs import event
from services.generator.adapters import decoding, orientation
from services.generator.ports import Inspected

#: Marks of a C2PA manifest: a JUMBF box in JPEG's APP11 or PNG's caBX, or a RIFF chunk of WebP.
_C2PA = (b"caBX", b"jumbc2pa", b"C2PA")
BLURHASH_COMPONENTS = (4, 3)
_THUMBNAIL = 32
#: Of a picture whose own cannot be made: a plain grey.
_PLAIN_BLURHASH = "LSIY5?~qfQ~q~q%MfQ%MfQfQfQfQ"
_LOG = logging.getLogger(__name__)


async def inspect(data: bytes, *, executor: Executor | None = None) -> Inspected:
    """Decode and measure. Raises `StageError` INVALID_IMAGE or TOO_LARGE."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, _inspect, data)


def _inspect(data: bytes) -> Inspected:
    """A picture is what its pixels decode to; all else is read as far as it can be."""
    with decoding.decoded(data) as image:
        turn = orientation.turn_of(image)
        width, height = (image.height, image.width) if turn in orientation.SIDEWAYS else (image.width, image.height)
        return Inspected(
            content_type=decoding.FORMATS[image.format or ""],
            width=width,
            height=height,
            sha256=hashlib.sha256(data).hexdigest(),
            blurhash=_blurhash(image, turn),
            c2pa=any(mark in data for mark in _C2PA),
        )


def _blurhash(image: Image.Image, turn: int) -> str:
    try:
        # Small first: everything after that is cheap, whatever the picture's size.
        small = _of_eight_bits(image).resize(_within(image.size), reducing_gap=2.0)
        rgba = orientation.turned(small, turn).convert("RGBA")
        # Transparency shows what is behind it: white, as on a page.
        flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        listed = flat.get_flattened_data() if hasattr(flat, "get_flattened_data") else flat.getdata()
        pixels: list[Any] = list(listed)
        rows = [pixels[start : start + flat.width] for start in range(0, len(pixels), flat.width)]
        encode: Callable[..., str] = blurhash.encode
        return encode(rows, *BLURHASH_COMPONENTS)
    except Exception as error:  # noqa: BLE001 - a paid picture is worth more than what is shown before it
        event(_LOG, logging.WARNING, "image.without_preview", mode=image.mode, error=type(error).__name__)
        return _PLAIN_BLURHASH


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """A picture whose channels have eight bits, as resizing knows them."""
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value * (1 / 256)).convert("L")
    return image.convert("RGBA") if image.mode in ("P", "1", "PA", "LA") else image


def _within(size: tuple[int, int]) -> tuple[int, int]:
    """The sides of a thumbnail."""
    scale = min(1.0, _THUMBNAIL / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
