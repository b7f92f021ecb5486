"""Masks: what is to be edited is transparent, or white where nothing is transparent."""

import io

import pytest
from PIL import Image

from services.generator.domain.jobs import MaskForm
from tests.support.generator.decoder import decoder


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _transparent_left() -> bytes:
    """The left half transparent, all of it black."""
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 2))
    return _encoded(image)


def _white_left() -> bytes:
    """The left half white."""
    image = Image.new("RGB", (4, 2), "black")
    image.paste("white", (0, 0, 2, 2))
    return _encoded(image)


@pytest.mark.parametrize("mask", [_transparent_left(), _white_left()], ids=["transparent", "white"])
async def test_what_is_to_be_edited_is_white_whichever_way_it_was_said(mask: bytes) -> None:
    made = Image.open(io.BytesIO(await decoder().mask(mask, MaskForm.WHITE)))

    assert (made.format, made.mode, made.size) == ("PNG", "L", (4, 2))
    assert [made.getpixel((x, 0)) for x in range(4)] == [255, 255, 0, 0]


@pytest.mark.parametrize("mask", [_transparent_left(), _white_left()], ids=["transparent", "white"])
async def test_what_is_to_be_edited_is_black_for_models_that_read_it_so(mask: bytes) -> None:
    made = Image.open(io.BytesIO(await decoder().mask(mask, MaskForm.BLACK)))

    assert [made.getpixel((x, 0)) for x in range(4)] == [0, 0, 255, 255]


@pytest.mark.parametrize("mask", [_transparent_left(), _white_left()], ids=["transparent", "white"])
async def test_a_mask_that_is_readable_either_way_says_the_same_by_colour_and_by_transparency(mask: bytes) -> None:
    made = Image.open(io.BytesIO(await decoder().mask(mask, MaskForm.TWO_WAY)))

    assert [made.getpixel((x, 1)) for x in range(4)] == [(255, 255, 255, 0)] * 2 + [(0, 0, 0, 255)] * 2


async def test_what_is_half_transparent_is_edited_by_half() -> None:
    mask = _encoded(Image.new("RGBA", (1, 1), (9, 9, 9, 55)))
    made = Image.open(io.BytesIO(await decoder().mask(mask, MaskForm.WHITE)))

    assert made.getpixel((0, 0)) == 200
