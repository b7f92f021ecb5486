"""Input images the right way up: cameras write how an image is to be turned, and vendors do not read it."""

import asyncio
import io
from concurrent.futures import Executor

from PIL import ExifTags, Image, ImageOps

UPRIGHT = 1
#: As good as the camera's own; the file grows rather than the picture suffers.
JPEG_QUALITY = 95


async def upright(data: bytes, *, executor: Executor | None = None) -> bytes:
    """The encoded image turned as its EXIF says, in the same format; byte for byte the same where nothing is said.

    `data` is an image that was inspected before.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, _upright, data)


def _upright(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        if image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) == UPRIGHT:
            return data
        turned = ImageOps.exif_transpose(image)
        written = io.BytesIO()
        profile = image.info.get("icc_profile")
        # What a format has no use for is not looked at.
        turned.save(
            written, format=image.format, icc_profile=profile, quality=JPEG_QUALITY, subsampling=0, lossless=True
        )
        return written.getvalue()
