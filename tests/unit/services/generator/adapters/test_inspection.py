"""An image is what its bytes decode to, within bounds; everything else is refused as what it is."""

import hashlib
import io
import struct
import zlib
from typing import Any

import pytest
from PIL import ExifTags, Image

from services.generator.domain.provider_results import StageError
from tests.support.generator.decoder import inspect, prepared

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


def turned_photo(*odd: tuple[int, int, bytes]) -> bytes:
    """A JPEG of 48 by 32 that is shown as one of 32 by 48; further tags as number, type and values."""
    sizes = {2: 1, 3: 2, 4: 4, 5: 8}
    tags = sorted([(0x0112, 3, b"\0\x06"), *odd])
    place, table, values = 8 + 2 + 12 * len(tags) + 4, b"", b""
    for number, kind, value in tags:
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(">I", place + len(values))
        values += value if len(value) > 4 else b""
        table += struct.pack(">HHI", number, kind, len(value) // sizes[kind]) + inline
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(tags)) + table + bytes(4) + values
    out = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


def with_profile(size: int) -> bytes:
    """A PNG whose colour profile unpacks to so many bytes."""
    out = io.BytesIO()
    Image.new("RGB", (48, 32)).save(out, "PNG", icc_profile=bytes(size))
    return out.getvalue()


def with_a_second_picture() -> bytes:
    """A JPEG as phones write it: a second picture lies behind the first."""
    out = io.BytesIO()
    second = Image.new("RGB", (8, 8))
    Image.new("RGB", (48, 32), "teal").save(out, "MPO", save_all=True, append_images=[second])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "content_type", "sides"),
    [
        pytest.param(encoded("PNG", "I;16", (512, 300)), "image/png", (512, 300), id="16-bit-grey"),
        pytest.param(with_profile(3_000_000), "image/png", (48, 32), id="large-profile"),
        pytest.param(with_a_second_picture(), "image/jpeg", (48, 32), id="second-picture"),
        pytest.param(turned_photo(), "image/jpeg", (32, 48), id="turned"),
        pytest.param(turned_photo((282, 5, bytes(16))), "image/jpeg", (32, 48), id="two-resolutions"),
        pytest.param(turned_photo((296, 2, b"inch")), "image/jpeg", (32, 48), id="a-unit-in-letters"),
        pytest.param(turned_photo((0x8825, 5, bytes(8))), "image/jpeg", (32, 48), id="a-place-that-is-none"),
    ],
)
async def test_what_is_beside_the_pixels_is_no_reason_to_refuse_them(
    data: bytes, content_type: str, sides: tuple[int, int]
) -> None:
    seen = await inspect(data)

    # As it is shown, which is not always as it is stored.
    assert (seen.content_type, seen.width, seen.height) == (content_type, *sides)
    assert len(seen.blurhash) == 28
    # It can be sent as well.
    sent = await inspect((await prepared(data)).data)
    assert (sent.width, sent.height) == sides


async def test_an_input_with_a_second_picture_is_turned_as_one() -> None:
    out = io.BytesIO()
    told = Image.Exif()
    told[ExifTags.Base.Orientation] = 6
    picture = Image.new("RGB", (48, 32), "teal")
    picture.save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], exif=told)
    with Image.open(io.BytesIO((await prepared(out.getvalue())).data)) as turned:
        assert (turned.format, turned.size) == ("JPEG", (32, 48))


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


def noisy(kind: str, **options: Any) -> bytes:
    """A picture of which each part takes its bytes."""
    drawn, written = Image.effect_noise((96, 64), 80).convert("RGB"), io.BytesIO()
    drawn.save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "lacks"),
    [
        (noisy("PNG"), 12),
        (noisy("PNG"), 5),
        (noisy("JPEG"), 2),
        (noisy("JPEG"), 1),
        (noisy("JPEG", progressive=True), 2),
    ],
    ids=["PNG without its end", "PNG with half of it", "JPEG without its end", "JPEG with half of it", "progressive"],
)
async def test_a_picture_that_has_all_its_pixels_and_no_end_is_one(data: bytes, lacks: int) -> None:
    seen = await inspect(data[:-lacks])

    assert (seen.width, seen.height) == (96, 64)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("options", [{"kind": "PNG"}, {"kind": "JPEG"}, {"kind": "JPEG", "progressive": True}])
async def test_a_picture_that_lacks_pixels_is_none(options: dict[str, Any], part: float) -> None:
    data = noisy(**options)
    with pytest.raises(StageError) as refusal:
        await inspect(data[: int(part * len(data))])

    assert refusal.value.reason == "INVALID_IMAGE"
