"""Input images are sent the right way up, and otherwise as they came."""

import io

import pytest
from PIL import ExifTags, Image

from tests.support.generator.decoder import prepared

RED, BLUE = (200, 20, 20), (20, 20, 200)


def image(form: str, *, orientation: int | None = None) -> bytes:
    """Twice as wide as high; its left half is red."""
    drawn = Image.new("RGB", (64, 32), BLUE)
    drawn.paste(RED, (0, 0, 32, 32))
    written, exif = io.BytesIO(), Image.Exif()
    if orientation is None:
        drawn.save(written, format=form)
    else:
        exif[ExifTags.Base.Orientation] = orientation
        drawn.save(written, format=form, exif=exif)
    return written.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_what_is_upright_is_left_byte_for_byte(form: str) -> None:
    data = image(form)

    assert (await prepared(data)).data == data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_what_the_camera_says_is_done_to_the_pixels(form: str) -> None:
    # 6: the camera was turned, its picture is to be turned clockwise by a quarter.
    with Image.open(io.BytesIO((await prepared(image(form, orientation=6))).data)) as turned:
        assert (turned.format, turned.size) == (form, (32, 64))
        assert turned.getexif().get(ExifTags.Base.Orientation, 1) == 1
        top, bottom = turned.convert("RGB").getpixel((16, 8)), turned.convert("RGB").getpixel((16, 56))
    assert top == pytest.approx(RED, abs=12)
    assert bottom == pytest.approx(BLUE, abs=12)
