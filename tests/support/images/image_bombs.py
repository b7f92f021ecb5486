"""Images that are small as files and large as pixels, or claim to be."""

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import ExifTags, Image


def png_of(width: int, height: int) -> bytes:
    """A PNG whose pixels, all black, are really there; made without having them."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packing, row = zlib.compressobj(9), bytes(1 + 3 * width)
    pixels = b"".join(packing.compress(row) for _ in range(height)) + packing.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def jpeg_that_claims(width: int, height: int) -> bytes:
    """Returns a JPEG whose header states another size than its pixels have."""
    data = bytearray(encoded("JPEG"))
    offset = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, offset + 5, height, width)
    return bytes(data)


def webp_that_claims(width: int, height: int) -> bytes:
    """Returns a WebP whose canvas is larger than its image."""
    inner = encoded("WEBP", lossless=True)[12:]
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def turned_webp() -> bytes:
    """Two kilobytes that are 50 million pixels, to be turned by a quarter: as large as an image may be."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded("WEBP", size=(10_000, 5_000), lossless=True, exif=exif)


def encoded(form: str, *, mode: str = "RGB", size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    """An image of one colour."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, form, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


#: Files, and their size in pixels.
IMAGES = {
    "PNG": (encoded("PNG"), (48, 32)),
    "JPEG": (encoded("JPEG"), (48, 32)),
    "progressive JPEG": (encoded("JPEG", progressive=True), (48, 32)),
    "JPEG with much before": (encoded("JPEG", comment=b"\xff\xc0" * 900, icc_profile=bytes(70_000)), (48, 32)),
    "WebP": (encoded("WEBP"), (48, 32)),
    "lossless WebP": (encoded("WEBP", lossless=True), (48, 32)),
    "transparent WebP": (encoded("WEBP", mode="RGBA"), (48, 32)),
    "WebP with a profile": (encoded("WEBP", icc_profile=bytes(500)), (48, 32)),
}
