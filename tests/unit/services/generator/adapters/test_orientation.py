"""Input images are sent the right way up, and otherwise as they came."""

import io

import pytest
from PIL import ExifTags, Image

from tests.support.decoding import decoder

RED, BLUE = (200, 20, 20), (20, 20, 200)


def image(form: str, *, orientation: int | None = None) -> bytes:
    """Twice as wide as high; its left half is red."""
    drawn = Image.new("RGB", (64, 32), BLUE)
    drawn.paste(RED, (0, 0, 32, 32))
    written, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    drawn.save(written, format=form, exif=exif)
    return written.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, 1])
async def test_what_is_upright_is_left_byte_for_byte(form: str, orientation: int | None) -> None:
    data = image(form, orientation=orientation)

    assert await decoder().upright(data) == data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_what_the_camera_says_is_done_to_the_pixels(form: str) -> None:
    # 6: the camera was turned, its picture is to be turned clockwise by a quarter.
    with Image.open(io.BytesIO(await decoder().upright(image(form, orientation=6)))) as turned:
        assert (turned.format, turned.size) == (form, (32, 64))
        assert turned.getexif().get(ExifTags.Base.Orientation, 1) == 1
        top, bottom = turned.convert("RGB").getpixel((16, 8)), turned.convert("RGB").getpixel((16, 56))
    assert top == pytest.approx(RED, abs=12)
    assert bottom == pytest.approx(BLUE, abs=12)
