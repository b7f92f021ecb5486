"""An image is what its bytes decode to, within bounds; everything else is refused as what it is."""

import hashlib
import io
import struct
import zlib

import pytest
from PIL import Image

from services.generator.adapters.inspection import inspect
from services.generator.domain.outcomes import StageError

GOOD = [
    ("PNG", "RGB", "image/png"),
    ("PNG", "RGBA", "image/png"),
    ("PNG", "P", "image/png"),
    ("PNG", "L", "image/png"),
    ("PNG", "1", "image/png"),
    ("PNG", "I;16", "image/png"),
    ("JPEG", "RGB", "image/jpeg"),
    ("JPEG", "CMYK", "image/jpeg"),
    ("WEBP", "RGB", "image/webp"),
    ("WEBP", "RGBA", "image/webp"),
]


def encoded(form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> bytes:
    """A small image."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, form)
    return out.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A small file whose header tells of a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(("form", "mode", "content_type"), GOOD)
async def test_an_image_is_measured(form: str, mode: str, content_type: str) -> None:
    data = encoded(form, mode)
    seen = await inspect(data)

    assert (seen.content_type, seen.width, seen.height) == (content_type, 48, 32)
    assert seen.sha256 == hashlib.sha256(data).hexdigest()
    # One character for the components, one for the scale, four for the average, two for each other component.
    assert len(seen.blurhash) == 6 + 2 * (4 * 3 - 1)
    assert not seen.c2pa


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        encoded()[:60],
        encoded("JPEG", size=(300, 300))[:200],
        encoded("WEBP")[:30],
        encoded("GIF", "P"),
        encoded("BMP"),
        encoded("TIFF"),
        b"RIFF\0\0\0\0WEBPVP8 ",
    ],
    ids=["empty", "html", "svg", "magic", "cut png", "cut jpeg", "cut webp", "gif", "bmp", "tiff", "riff"],
)
async def test_what_does_not_decode_is_no_image(data: bytes) -> None:
    with pytest.raises(StageError) as refusal:
        await inspect(data)
    assert (refusal.value.code, refusal.value.reason) == ("PERMANENT", "INVALID_IMAGE")
    assert refusal.value.stage == "GENERATING"


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (8_000, 8_000), (20_000, 10)])
async def test_a_picture_that_would_unpack_without_measure_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(StageError) as refusal:
        await inspect(png_that_claims(width, height))
    assert refusal.value.reason == "TOO_LARGE"


async def test_a_manifest_of_origin_is_noticed() -> None:
    plain = encoded()
    manifest = b"jumb" + b"c2pa" * 4
    chunk = struct.pack(">I", len(manifest)) + b"caBX" + manifest + struct.pack(">I", zlib.crc32(b"caBX" + manifest))
    seen = await inspect(plain[:33] + chunk + plain[33:])

    assert seen.c2pa
